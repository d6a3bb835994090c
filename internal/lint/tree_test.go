package lint

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maxTracked is the largest file that belongs in the tree, in bytes.
const maxTracked = 256 << 10

// What was built does not belong in the tree: it is large, it grows old, and
// it names the machine that made it.
func TestTreeHoldsSources(t *testing.T) {
	list, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("git does not tell what belongs to the tree: %v", err)
	}
	names := strings.Split(strings.TrimRight(string(list), "\x00"), "\x00")
	if len(names) < 100 {
		t.Fatalf("git knows %d files", len(names))
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // removed and not committed yet
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if len(text) > maxTracked {
			t.Errorf("%s has %d bytes, want %d at most", name, len(text), maxTracked)
		}
		for _, magic := range []string{"\x7fELF", "MZ\x90\x00", "\xcf\xfa\xed\xfe", "!<arch>"} {
			if bytes.HasPrefix(text, []byte(magic)) {
				t.Errorf("%s is a program", name)
			}
		}
	}
}
