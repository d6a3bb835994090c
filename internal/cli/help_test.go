package cli

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected help anew")

func TestHelp(t *testing.T) {
	for name, line := range map[string]string{
		"overview":  "help",
		"command":   "help coffee make",
		"plain":     "tea --help",
		"group":     "help pot",
		"both":      "help coffee",
		"subgroup":  "coffee mill -h",
		"arguments": "coffee make tall -h",
	} {
		p, _ := brew()
		var b strings.Builder
		if err := p.Help(&b, p.Scan(strings.Fields(line)).Words); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		file := filepath.Join("testdata", "help", name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), b.String()); d != "" {
			t.Errorf("%s (-want +got)\n%s", name, d)
		}
	}
}

// A command's own words about a flag stay with that command.
func TestHelpLeavesFlags(t *testing.T) {
	p, _ := brew()
	var first, second strings.Builder
	p.Help(&first, []string{"coffee", "make"})
	p.Help(&second, []string{"tea"})
	if !strings.Contains(first.String(), "--kind BEAN  whose coffee") ||
		!strings.Contains(second.String(), "--kind NAME  which kind") {
		t.Errorf("got %s and %s", first.String(), second.String())
	}
}

func TestHelpOfNothing(t *testing.T) {
	for _, line := range []string{"help nothing", "pot nothing -h", "nothing at all --help"} {
		p, _ := brew()
		var b strings.Builder
		err := p.Help(&b, p.Scan(strings.Fields(line)).Words)
		if _, ok := errors.AsType[*UsageError](err); !ok || b.Len() > 0 {
			t.Errorf("%s: got %v and %q", line, err, b.String())
		}
	}
}
