package cli

import (
	"context"
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// values are those of the flags of the program under test.
type values struct {
	json, quiet, hot bool
	kind             string
	cups             int
}

// brew is a small program.
func brew() (*Program, *values) {
	v := new(values)
	fs := flag.NewFlagSet("brew", flag.ContinueOnError)
	fs.BoolVar(&v.json, "json", false, "answer in JSON")
	fs.BoolVar(&v.quiet, "quiet", false, "say nothing (also -q)")
	fs.BoolVar(&v.quiet, "q", false, "the same as --quiet")
	fs.BoolVar(&v.hot, "hot", false, "do not wait until it is cold")
	fs.StringVar(&v.kind, "kind", "", "`NAME` which kind")
	fs.IntVar(&v.cups, "cups", 1, "`N` how many cups")
	sizes := func(int) []string { return []string{"small", "tall", "venti"} }
	return &Program{
		Name:  "brew",
		About: "Brew makes drinks.\n",
		Exit:  "Exit status: 0 done.\n",
		Commands: []Command{
			{Name: "tea", Short: "make tea", Flags: []string{"kind", "hot"}},
			{
				Name: "coffee make", Args: "SIZE...", Min: 1, Max: 2, Flags: []string{"cups", "kind"},
				About:    map[string]string{"kind": "`BEAN` whose coffee"},
				Short:    "make coffee",
				Long:     "It takes water, and " + strings.Repeat("time, ", 12) + "time.",
				Examples: []string{"brew coffee make tall --cups 2"},
				Complete: sizes,
			},
			{Name: "coffee", Short: "tell about coffee"},
			{Name: "coffee mill clean", Short: "clean the mill"},
			{Name: "coffee mill", Args: "[N]", Max: 1, Short: "turn the mill"},
			{Name: "pot wash", Short: "wash the pot"},
			{Name: "help", Args: "[COMMAND]", Max: MaxWords, Short: "explain a command"},
		},
		Flags:      fs,
		Everywhere: []string{"json", "quiet", "q"},
		Filled:     []string{"kind"},
		Values: func(flag string) []string {
			return map[string][]string{"kind": {"arabica", "robusta"}}[flag]
		},
		Shorten: func(s string) string { return s[:min(len(s), 20)] },
	}, v
}

func TestScan(t *testing.T) {
	for _, tt := range []struct{ name, line, words, flags string }{
		{"flags first", "--json --kind d coffee make", "coffee make", "--json --kind d"},
		{"flags between", "coffee --kind d make --json", "coffee make", "--kind d --json"},
		{"one dash", "coffee make -kind=d -json", "coffee make", "-kind=d -json"},
		{"value that looks like a word", "--kind make coffee make", "coffee make", "--kind make"},
		{"dash is a word", "coffee make -", "coffee make -", ""},
		{"dash as a value", "coffee make a --kind -", "coffee make a", "--kind -"},
		{"numbers are words", "coffee mill -1", "coffee mill -1", ""},
		{"end of flags", "coffee make k -- --json", "coffee make k --json", ""},
		{"unknown flags take nothing", "--what coffee make", "coffee make", "--what"},
		{"value is missing", "coffee make --kind", "coffee make", "--kind"},
		{"nothing", "", "", ""},
	} {
		p, _ := brew()
		l := p.Scan(strings.Fields(tt.line))
		if got := strings.Join(l.Words, " "); got != tt.words {
			t.Errorf("%s: got words %q, want %q", tt.name, got, tt.words)
		}
		if got := strings.Join(l.flags, " "); got != tt.flags {
			t.Errorf("%s: got flags %q, want %q", tt.name, got, tt.flags)
		}
	}
}

// What stands on a line is known before it is parsed.
func TestBeforeParsing(t *testing.T) {
	for _, tt := range []struct {
		line       string
		json, help bool
	}{
		{"", false, true},
		{"help", false, true},
		{"help nothing such", false, true},
		{"tea -h", false, true},
		{"tea --help --json", true, true},
		{"tea -help", false, true},
		{"tea help", false, false},
		{"--json", true, false},
		{"tea -json --nonsense", true, false},
		{"tea --json=true", true, false},
		{"tea --json=false", false, false},
		{"tea -- --json --help", false, false},
	} {
		p, _ := brew()
		l := p.Scan(strings.Fields(tt.line))
		if json, help := l.Has("json"), l.WantsHelp(); json != tt.json || help != tt.help {
			t.Errorf("%q: got JSON %v and help %v, want %v and %v", tt.line, json, help, tt.json,
				tt.help)
		}
	}
}

func TestParse(t *testing.T) {
	type parsed struct {
		Command string
		Args    []string
		Given   map[string]bool
		Values  values
	}
	for _, tt := range []struct {
		name, line string
		want       parsed
	}{
		{"no arguments", "tea", parsed{Command: "tea", Values: values{cups: 1}}},
		{"the longest name", "coffee mill clean", parsed{Command: "coffee mill clean",
			Values: values{cups: 1}}},
		{"a shorter one", "coffee mill 3", parsed{Command: "coffee mill", Args: []string{"3"},
			Values: values{cups: 1}}},
		{"flags anywhere", "--cups=3 coffee -q make a -kind x b", parsed{Command: "coffee make",
			Args:   []string{"a", "b"},
			Given:  map[string]bool{"cups": true, "q": true, "kind": true},
			Values: values{quiet: true, kind: "x", cups: 3}}},
		{"a flag that says no", "tea --hot=false", parsed{Command: "tea",
			Given: map[string]bool{"hot": true}, Values: values{cups: 1}}},
	} {
		p, v := brew()
		l := p.Scan(strings.Fields(tt.line))
		if err := p.Parse(l); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := parsed{l.Command.Name, l.Args, l.Given, *v}
		if len(got.Args) == 0 {
			got.Args = nil
		}
		if len(got.Given) == 0 {
			got.Given = nil
		}
		if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(values{})); d != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, d)
		}
		if l.Arg(0) != strings.Join(l.Args[:min(1, len(l.Args))], "") || l.Arg(9) != "" {
			t.Errorf("%s: the first argument is %q, the tenth %q", tt.name, l.Arg(0), l.Arg(9))
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ line, command, want string }{
		{"--json", "", `a command is missing`},
		{"te", "", `there is no command "te"; did you mean "tea"?`},
		{"cof", "", `there is no command "cof"; did you mean "coffee"?`},
		{"x", "", `there is no command "x"`},
		{"xxxxxxxxxxxxxxxxxxxxxx", "", `there is no command "xxxxxxxxxxxxxxxxxxxx"`},
		{"pot", "", `"pot" needs another word: wash`},
		{"pot wsh", "", `there is no command "pot wsh"; did you mean "pot wash"?`},
		{"pot zzzzzz", "", `there is no command "pot zzzzzz"; there are wash`},
		{"coffee make", "coffee make", `coffee make: an argument is missing`},
		{"coffee make a b cccccccccccccccccccccc", "coffee make",
			`coffee make: "cccccccccccccccccccc" is too much`},
		{"tea --kin x", "tea", `tea has no flag --kin; did you mean --kind?`},
		{"tea --cups 2", "tea", `tea has no flag --cups`},
		{"tea -x", "tea", `tea has no flag -x`},
		{"tea --x", "tea", `tea has no flag -x`},
		{"tea --zzzzzz", "tea", `tea has no flag --zzzzzz`},
		{"tea --kind", "tea", `tea: --kind needs a value after it`},
		{"tea --kind=", "tea", `tea: --kind has no value; leave it out, or name one`},
		{"tea --hot=maybe", "tea", `tea: --hot "maybe": want true or false`},
		{"coffee make a --cups x", "coffee make", `coffee make: --cups "x": want a whole number`},
		{"tea --=3", "tea", `tea: bad flag syntax: --=`},
	} {
		p, _ := brew()
		l := p.Scan(strings.Fields(tt.line))
		err := p.Parse(l)
		wrong, ok := errors.AsType[*UsageError](err)
		if !ok || !strings.HasPrefix(wrong.Error(), tt.want) || wrong.Command != tt.command {
			t.Errorf("%q: got %v, %+v, want %q", tt.line, err, wrong, tt.want)
		}
	}
}

func TestUsagef(t *testing.T) {
	p, _ := brew()
	long := strings.Repeat("x", 1000)
	for _, tt := range []struct {
		cmd  *Command
		want UsageError
	}{
		{nil, UsageError{Text: `"xxxxxxxxxxxxxxxxxxxx" and 1000`}},
		{&p.Commands[0], UsageError{Text: `"xxxxxxxxxxxxxxxxxxxx" and 1000`, Command: "tea"}},
	} {
		got, ok := errors.AsType[*UsageError](p.Usagef(tt.cmd, "%q and %d", long, len(long)))
		if !ok || *got != tt.want {
			t.Errorf("got %+v, want %+v", got, tt.want)
		}
	}
	cause := context.Canceled
	if err := error(&UsageError{Text: "wrong", Cause: cause}); !errors.Is(err, cause) {
		t.Errorf("the cause of %v is lost", err)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"account", "domain", "settings", "status", "stop"}
	for wrong, want := range map[string]string{
		"acount": "account", "domian": "domain", "setings": "settings", "stats": "status",
		"acc": "account", "zebra": "", "x": "", "": "", strings.Repeat("stop", 11): "",
	} {
		if got := nearest(wrong, words); got != want {
			t.Errorf("%s: got %q, want %q", wrong, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "axc", 1},
		{"abc", "ac", 1}, {"kitten", "sitting", 3}, {strings.Repeat("a", 41), "a", maxWord},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := distance(tt.b, tt.a); got != tt.want {
			t.Errorf("%q, %q: got %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}

// Whatever is typed, a line is a command or a mistake, and a shell gets an
// answer in whole lines.
func FuzzLine(f *testing.F) {
	for _, line := range []string{"", "help coffee", "coffee make a --cups 2 -q", "-- -x", "--=",
		"tea -h=",
		"coffee mill -1 --json=x", "__complete coffee ", "--kind", "pot wahs - -"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		args := strings.Split(text, " ")
		p, _ := brew()
		l := p.Scan(args)
		if n := len(l.Words) + len(l.flags); n > len(args) {
			t.Errorf("%d words became %d", len(args), n)
		}
		err := p.Parse(l)
		if _, ok := errors.AsType[*UsageError](err); err != nil && !ok {
			t.Errorf("got %T %v", err, err)
		}
		if err == nil && (l.Command == nil || len(l.Args) < l.Command.Min) {
			t.Errorf("got the command %v with %q", l.Command, l.Args)
		}
		var b strings.Builder
		if p.Complete(&b, args); b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
			t.Errorf("completion answers %q", b.String())
		}
		_ = p.Help(&b, l.Words)
	})
}
