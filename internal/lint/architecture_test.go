package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The picture of the architecture names every package, on its floor.
func TestArchitectureNamesFloors(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`([a-z/]+)`")
	drawn := map[string]int{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		floor, err := strconv.Atoi(strings.TrimSpace(cells[1]))
		if err != nil {
			continue
		}
		for _, m := range name.FindAllStringSubmatch(cells[2], -1) {
			drawn[m[1]] = floor
		}
	}
	for pkg, floor := range floors {
		if got, ok := drawn[pkg]; !ok || got != floor {
			t.Errorf("docs/architecture.md: %s is on floor %d (drawn: %v), want %d", pkg, got, ok, floor)
		}
		delete(drawn, pkg)
	}
	for pkg := range drawn {
		t.Errorf("docs/architecture.md draws %s, which is no package", pkg)
	}
}
