package settings

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/mail"
)

func TestFileMistakes(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"unknown key": {"[smtp]\nlistn = ':25'\n",
			`f:2: "smtp.listn" is no setting; did you mean "smtp.listen"?`},
		"unknown key with a point": {"smtp.listn = ':25'\n",
			`f:1: "smtp.listn" is no setting; did you mean "smtp.listen"?`},
		"key without section": {"\nhostname = 'x'\n",
			`f:2: "hostname" is no setting; did you mean "server.hostname"?`},
		"unknown section": {"[imapx]\nlisten = ':25'\n",
			"f:1: [imapx] is no section of settings"},
		"near section": {"[smpt]\nlisten = ':25'\n",
			"f:1: [smpt] is no section of settings; did you mean [smtp]?"},
		"deep section": {"[smtp.deep]\nlisten = ':25'\n",
			"f:1: [smtp.deep] is no section of settings; did you mean [smtp]?"},
		"list of tables": {"[[smtp]]\nlisten = ':25'\n",
			"f:1: [[smtp]]: settings have no lists of tables; write [smtp]"},
		"table as value": {"[smtp]\nlisten = { a = 1 }\n",
			`f:2: "smtp.listen.a" is no setting; did you mean "smtp.listen"?`},
		"wrong values, all listed": {
			"[smtp]\nmax_size = 'big'\nmax_hops = 1\n\nerrors = 20\ncommand_timeout = 300\n" +
				"listen = [25]\nproxy_from = ['10.0.0.0/8', 'x']\nmax_recipients = true\n",
			`f:2: smtp.max_size: "big" is not a size; want bytes, or a number with K, M, G ` +
				`or T such as 64M from 64K to 1T, or none
f:3: smtp.max_hops: "1" is too small; want a whole number from 5 to 1000
f:6: smtp.command_timeout: "300" is a bare number; want a duration such as 90s, 5m, ` +
				`1h30m or 30d from 1s to 1d
f:7: smtp.listen: "25" is not in quotes; want host:port (127.0.0.1:25, [::1]:25, :25 for ` +
				`all) or unix:PATH, with commas between
f:8: smtp.proxy_from: "x" is not a network; want networks or addresses (192.0.2.0/24, ` +
				`2001:db8::/32, ::1), with commas between
f:9: smtp.max_recipients: "true" is not in quotes; want a whole number from 100 to 100000`},
		"float": {"smtp.max_hops = 5.0\n",
			`f:1: smtp.max_hops: "5.0" is a float; want a whole number from 5 to 1000`},
		"date": {"server.hostname = 2026-01-01\n",
			`f:1: server.hostname: "2026-01-01" is a localdate; want a text of one line`},
		"list for a number": {"smtp.max_hops = [5]\n",
			`f:1: smtp.max_hops: "[…]" is a list; want a whole number from 5 to 1000`},
		"secret": {"metrics.token = \"a\\u0001b\"\n",
			"f:1: metrics.token: the value contains a control character"},
		"twice, as section and with a point": {"smtp = { max_hops = 7 }\nsmtp.max_hops = 8\n",
			"f:2:"},
		"no TOML": {"[smtp]\nlisten = \n", "f:2:"},
		"a word without quotes": {"# x\n[auth]\nscram_sha1 = yes\n",
			"f:3:14: this is not TOML: unexpected character U+0079 'y' at start of value; " +
				"write scram_sha1 = true"},
		"a size without quotes": {"[pop]\n[smtp]\nmax_size = 3M # more\n",
			`f:3:13: this is not TOML: strings must be quoted; write max_size = "3M"`},
		"a duration without quotes": {"smtp.command_timeout = 1h30m\n",
			`f:1:25: this is not TOML: strings must be quoted; write smtp.command_timeout = "1h30m"`},
		"a list without quotes": {"[smtp]\nlisten = [:25, 127.0.0.1:26]\n",
			`f:2:11: this is not TOML: unexpected character U+003A ':' at start of value; ` +
				`write listen = [":25", "127.0.0.1:26"]`},
		"neither TOML nor right": {"[smtp]\nmax_hops = many\n", "f:2:12: this is not TOML: " +
			"unexpected character U+006D 'm' at start of value; " +
			"smtp.max_hops: want a whole number from 5 to 1000"},
		"neither TOML nor a key": {"[smtp]\nmax_hps = many\n", "f:2:11: this is not TOML: " +
			`unexpected character U+006D 'm' at start of value; ` +
			`"smtp.max_hps" is no setting; did you mean "smtp.max_hops"?`},
		"a secret that is no TOML": {"[metrics]\ntoken = sesame\n", "f:2:9: this is not TOML: " +
			"unexpected character U+0073 's' at start of value; " +
			"metrics.token is written in quotes"},
		"too big": {strings.Repeat("#\n", maxFile), "f: larger than 1 MB; that is no settings file"},
	} {
		err := New().LoadFile("f", []byte(c.in))
		if mail.KindOf(err) != mail.Invalid {
			t.Errorf("%s: got %v want Invalid", name, err)
			continue
		}
		if strings.HasSuffix(c.want, ":") && strings.HasPrefix(err.Error(), c.want) {
			continue
		}
		if diff := cmp.Diff(c.want, err.Error()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestManyMistakes(t *testing.T) {
	err := New().LoadFile("f", []byte("[smtp]\n"+manyKeys(50)))
	if got := strings.Count(err.Error(), "\n"); got != maxComplaints {
		t.Errorf("got %d lines", got+1)
	}
	if !strings.HasSuffix(err.Error(), "\nf: and 30 more") {
		t.Errorf("got %s", err)
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("zzzzzzzzzz" + strings.Repeat("z", i) + " = 1\n")
	}
	return b.String()
}

func TestFileForms(t *testing.T) {
	r := New()
	err := r.LoadFile("f", []byte("\ufeff# comment\r\npop.timeout = \"11m\" # here too\r\n"+
		`smtp = { max_hops = 0x10, listen = [":25", # one
  "unix:run/a b", ] }
[log]
"level" = 4
levels = "smtp=5, pop=1"
[auth]
scram_sha1 = "yes"
[store]
memory = 16_777_216
volumes = ['C:\mail', "b"]
`))
	if err != nil {
		t.Fatal(err)
	}
	v := r.Current()
	got := []any{v.Duration(POPTimeout).String(), v.Int(SMTPMaxHops), v.List(SMTPListen),
		v.Int(LogLevel), v.List(LogLevels), v.Bool(AuthSCRAMSHA1), v.Size(StoreMemory),
		v.List(StoreVolumes)}
	want := []any{"11m0s", 16, []string{":25", "unix:run/a b"}, 4, []string{"smtp=5", "pop=1"},
		true, int64(16 << 20), []string{`C:\mail`, "b"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if e, _ := r.Explain("smtp.listen"); e.Where != "f:3" {
		t.Errorf("smtp.listen is set at %s", e.Where)
	}
	before := r.Current()
	if err := r.LoadFile("f", []byte("pop.timeout = '12m'\nnonsense = 1")); err == nil {
		t.Fatal("nonsense was taken")
	}
	if r.Current() != before {
		t.Error("a wrong file changed something")
	}
}

func TestApply(t *testing.T) {
	r, m := attached(t, map[string]string{"smtp.errors": "5", "pop.errors": "6"})
	r.LoadFile("p.toml", []byte("pop.timeout = '12m'\nstore.memory = '32M'"))
	in := []byte("pop.timeout = '720s'\nsmtp.max_hops = 9\nsmtp.errors = 7\nstore.memory = '32M'")
	hops := Change{Name: "smtp.max_hops", Old: "50", New: "9"}
	errs := Change{Name: "smtp.errors", Old: "5", New: "7"}
	pop := Change{Name: "pop.errors", Old: "6", New: "20", Reset: true}
	for _, c := range []struct {
		name string
		o    ApplyOptions
		want []Change
		rows int
	}{
		{"dry run", ApplyOptions{DryRun: true}, []Change{hops, errs}, 2},
		{"dry run, replace", ApplyOptions{DryRun: true, Replace: true},
			[]Change{hops, errs, pop}, 2},
		{"apply", ApplyOptions{}, []Change{hops, errs}, 3},
		{"again", ApplyOptions{}, nil, 3},
		{"replace", ApplyOptions{Replace: true}, []Change{pop}, 2},
	} {
		a, err := r.Apply(t.Context(), "a.toml", in, c.o)
		got := a.Changes
		if err != nil {
			t.Fatal(c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if len(m.rows) != c.rows {
			t.Errorf("%s: %d rows in the database: %v", c.name, len(m.rows), m.rows)
		}
	}
	_, err := r.Apply(t.Context(), "a.toml", []byte("smtp.max_hops = 8\npop.timeout = '13m'"),
		ApplyOptions{})
	if mail.KindOf(err) != mail.Conflict ||
		err.Error() != "a.toml:2: pop.timeout is fixed by p.toml:1; change it there" {
		t.Errorf("fixed key: %v", err)
	}
	if r.Current().Int(SMTPMaxHops) != 9 {
		t.Error("half of a refused file was applied")
	}
}

// What an export does not have, because it is secret, is not reset by it, and
// what only a file can say keeps it from nothing.
func TestApplyExport(t *testing.T) {
	r, m := attached(t, nil)
	r.LoadFile("p.toml", []byte("server.user = 'mail'"))
	if _, err := r.SetAll(t.Context(), []Assignment{{"metrics.token", "sesame"},
		{"smtp.max_hops", "9"}}); err != nil {
		t.Fatal(err)
	}
	export := r.Export(false)
	other, _ := attached(t, map[string]string{"metrics.token": m.rows["metrics.token"],
		"smtp.errors": "7"})
	for _, c := range []struct {
		name  string
		r     *Registry
		file  string
		notes []string
		token string
	}{
		{"here", r, string(export), []string{`metrics.token is a secret that the file does not ` +
			`name, and is kept; "postrider settings reset metrics.token" removes it`}, "sesame"},
		{"elsewhere", other, string(export), []string{
			`a.toml:4: server.user is needed before the database is open and was passed over; ` +
				`it belongs into the configuration file`,
			`metrics.token is a secret that the file does not name, and is kept; "postrider ` +
				`settings reset metrics.token" removes it`}, "sesame"},
		{"named", r, "smtp.max_hops = 9\nmetrics.token = ''", nil, ""},
	} {
		for _, dry := range []bool{true, false} {
			a, err := c.r.Apply(t.Context(), "a.toml", []byte(c.file),
				ApplyOptions{Replace: true, DryRun: dry})
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if diff := cmp.Diff(c.notes, a.Notes); diff != "" {
				t.Errorf("%s: %s", c.name, diff)
			}
		}
		if got := c.r.Current().String(MetricsToken); got != c.token {
			t.Errorf("%s: got the token %q, want %q", c.name, got, c.token)
		}
		if got := c.r.Current().Int(SMTPMaxHops); got != 9 {
			t.Errorf("%s: smtp.max_hops is %d", c.name, got)
		}
	}
}

// What is as it is by default already is no change, and what runs already needs
// no restart.
func TestNoDifference(t *testing.T) {
	r, m := attached(t, map[string]string{"smtp.listen": ":25", "smtp.max_hops": "50"})
	r.Started()
	a, err := r.Apply(t.Context(), "a.toml", r.Export(true), ApplyOptions{})
	if err != nil || len(a.Changes) > 0 || len(m.rows) != 2 {
		t.Errorf("all as it is: got %+v, %v and the rows %q", a.Changes, err, m.rows)
	}
	for _, tt := range []struct {
		name, key, value string
		want             []Change
	}{
		{"another", "smtp.listen", ":26",
			[]Change{{Name: "smtp.listen", Old: ":25", New: ":26", Restart: true}}},
		{"back", "smtp.listen", ":25", []Change{{Name: "smtp.listen", Old: ":26", New: ":25"}}},
		{"the default", "pop.errors", "20", nil},
		{"set to the default, reset", "smtp.max_hops", "",
			[]Change{{Name: "smtp.max_hops", Old: "50", New: "50", Reset: true}}},
		{"a default, reset", "smtp.max_hops", "", nil},
		{"reset", "smtp.listen", "", []Change{{Name: "smtp.listen", Old: ":25",
			New: "127.0.0.1:2525", Reset: true, Restart: true}}},
	} {
		var got []Change
		var err error
		if tt.value != "" {
			got, err = r.SetAll(t.Context(), []Assignment{{tt.key, tt.value}})
		} else {
			got, err = r.ResetAll(t.Context(), []string{tt.key})
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", tt.name, err, diff)
		}
	}
}

// TestExport proves that what is exported, applied elsewhere, gives the same
// state.
func TestExport(t *testing.T) {
	r, _ := attached(t, nil)
	r.LoadFile("p.toml", []byte(`server.hostname = "mail.example.org"
smtp.listen = [":25", "[::]:26"]
smtp.max_size = "none"
tls.certificate = 'C:\a "b".pem'
metrics.token = "hunter2"`))
	want := `# Settings of Postrider.

[server]
hostname = "mail.example.org"

[smtp]
listen = [":25", "[::]:26"]
max_size = "none"

[metrics]
# token is set in the file and not shown; "config apply" does not change it

[tls]
certificate = ["C:\\a \"b\".pem"]
`
	if diff := cmp.Diff(want, string(r.Export(false))); diff != "" {
		t.Error(diff)
	}
	for _, all := range []bool{false, true} {
		other := New()
		if err := other.LoadFile("export", r.Export(all)); err != nil {
			t.Fatal(err)
		}
		got := other.Current().Changed(r.Current())
		if diff := cmp.Diff([]string{"metrics.token"}, got); diff != "" {
			t.Errorf("all %v: %s", all, diff)
		}
	}
}

// TestExample reads the example as it is, and without its comment signs:
// either way every key has its default.
func TestExample(t *testing.T) {
	text := string(Example())
	bare := regexp.MustCompile(`(?m)^# ([a-z\[])`).ReplaceAllString(
		text[strings.Index(text, "# [server]"):], "$1")
	for name, in := range map[string]string{"as it is": text, "bare": bare} {
		r := New()
		before := r.Current()
		if err := r.LoadFile("example", []byte(in)); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, in)
		}
		if r.Current() != before {
			t.Errorf("%s: values differ from defaults: %q", name, r.Current().Changed(before))
		}
		if name == "bare" && len(r.layers[File]) != count {
			t.Errorf("%d of %d keys are in the example", len(r.layers[File]), count)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "##") && len(line) > 100 {
			t.Errorf("long line: %s", line)
		}
	}
}

func FuzzLoadFile(f *testing.F) {
	f.Add(Example())
	f.Add([]byte("[smtp]\nlisten = [':25']\nmax_size = '1G'\n"))
	f.Add([]byte("smtp = { max_hops = 7, deep = { a = [1, [2]] } }"))
	f.Add([]byte("[[pop]]\n[x.y]\n'a\"b'.c = 1979-05-27T07:32:00Z\nz = inf"))
	f.Add([]byte("pop.timeout = \"\"\"\n1h\"\"\"\nlog.levels = ['a=1',]"))
	f.Fuzz(func(t *testing.T, content []byte) {
		r := New()
		err := r.LoadFile("f", content)
		if err != nil {
			if mail.KindOf(err) != mail.Invalid || !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("error without its place: %v", err)
			}
			return
		}
		again := New()
		if err := again.LoadFile("export", r.Export(true)); err != nil {
			t.Fatalf("export cannot be read: %v\n%s", err, r.Export(true))
		}
		for _, name := range again.Current().Changed(r.Current()) {
			if name != "metrics.token" {
				t.Fatalf("%s is lost by export", name)
			}
		}
	})
}
