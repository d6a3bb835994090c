package cli

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestComplete(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"nothing yet", "", "tea coffee pot help"},
		{"no word at all", "NONE", "tea coffee pot help"},
		{"a command", "te", "tea"},
		{"a second word", "coffee ", "make mill"},
		{"a second word that has begun", "coffee ma", "make"},
		{"a third", "coffee mill ", "clean"},
		{"behind help", "help pot ", "wash"},
		{"behind flags", "--kind make -q pot ", "wash"},
		{"an argument", "coffee make ", "small tall venti"},
		{"another", "coffee make tall t", "tall"},
		{"flags of all", "-", "--help --json --quiet"},
		{"flags of a command", "coffee make -", "--cups --help --json --kind --quiet"},
		{"a flag", "coffee make a --k", "--kind"},
		{"the value of a flag", "coffee make --kind ", "arabica robusta"},
		{"a value that has begun", "coffee --kind r", "robusta"},
		{"a value that nobody knows", "coffee make --cups ", ""},
		{"after a value", "coffee make --cups 2 ", "small tall venti"},
		{"nothing known", "nonsense ", ""},
		{"no more", "tea x ", ""},
	} {
		p, _ := brew()
		words := strings.Split(tt.line, " ")
		if tt.line == "NONE" {
			words = nil
		}
		var b strings.Builder
		if err := p.Complete(&b, words); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if d := cmp.Diff(strings.Fields(tt.want), strings.Fields(b.String())); d != "" {
			t.Errorf("%s: %q (-want +got)\n%s", tt.name, tt.line, d)
		}
	}
}

var errFull = errors.New("full")

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errFull }

func TestCompleteFull(t *testing.T) {
	p, _ := brew()
	if err := p.Complete(fullWriter{}, []string{""}); err != errFull {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

func TestCompleting(t *testing.T) {
	for _, tt := range []struct {
		args, want []string
		ok         bool
	}{
		{nil, nil, false},
		{[]string{"tea", "__complete"}, nil, false},
		{[]string{"__complete"}, []string{}, true},
		{[]string{"__complete", "tea", ""}, []string{"tea", ""}, true},
	} {
		got, ok := Completing(tt.args)
		if ok != tt.ok || !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, %v, want %q, %v", tt.args, got, ok, tt.want, tt.ok)
		}
	}
}

func TestScript(t *testing.T) {
	p, _ := brew()
	for shell, want := range map[string]string{
		"bash": "complete -o default -F _brew brew\n",
		"zsh":  "#compdef brew\n",
		"fish": "complete -c brew -a '(__brew_complete)'\n",
	} {
		got, ok := p.Script(shell)
		if !ok || !strings.Contains(got, want) || strings.Contains(got, "NAME") ||
			!strings.Contains(got, "brew "+completing+" ") {
			t.Errorf("%s: got %q, %v", shell, got, ok)
		}
	}
	if got, ok := p.Script("tcsh"); ok {
		t.Errorf("tcsh is known: %q", got)
	}
}
