package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"strings"
	"testing"
	"unicode/utf8"
)

// The sizes to hold, in lines and columns.
const (
	maxFunction     = 100
	usualFunction   = 60
	usualPercentage = 95
	maxFile         = 600
	maxPackage      = 3000
	maxColumns      = 100
	maxSlip         = 20
)

// longFiles may have more than maxFile lines.
var longFiles = map[string]string{}

// largePackages may have more than maxPackage lines.
var largePackages = map[string]string{}

func TestFunctionLength(t *testing.T) {
	all, long := 0, 0
	var names []string
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		s.functions(func(f *ast.FuncDecl) {
			n := s.lines(f)
			all++
			if n > usualFunction {
				long++
				names = append(names, f.Name.Name)
			}
			if n > maxFunction {
				t.Errorf("%s: %s has %d lines, want %d at most", s.at(f), f.Name, n, maxFunction)
			}
		})
	}
	if long*100 > all*(100-usualPercentage) {
		t.Errorf("%d of %d functions have more than %d lines, want %d %% at most: %s", long, all,
			usualFunction, 100-usualPercentage, strings.Join(names, ", "))
	}
}

func TestFileLength(t *testing.T) {
	long := newExceptions(longFiles)
	for _, s := range sources(t) {
		n := bytes.Count(s.text, []byte("\n"))
		if n > maxFile && !s.test && !ast.IsGenerated(s.file) && !long.has(s.path) {
			t.Errorf("%s has %d lines, want %d at most", s.path, n, maxFile)
		}
	}
	long.check(t)
}

// Tests and generated files do not count.
func TestPackageLength(t *testing.T) {
	lines := map[string]int{}
	for _, s := range sources(t) {
		if !s.test && !ast.IsGenerated(s.file) {
			lines[s.pkg] += bytes.Count(s.text, []byte("\n"))
		}
	}
	large := newExceptions(largePackages)
	for pkg, n := range lines {
		if n > maxPackage && !large.has(pkg) {
			t.Errorf("package %s has %d lines, want %d at most", pkg, n, maxPackage)
		}
	}
	large.check(t)
}

// A line may be wider when it is one long text: an address of the web, or in
// a test a literal that would not be better in pieces. Others are slips: one
// in a thousand passes, but not by much.
func TestLineWidth(t *testing.T) {
	all := 0
	var slips []string
	for _, s := range sources(t) {
		if ast.IsGenerated(s.file) {
			continue
		}
		for i, line := range strings.Split(string(s.text), "\n") {
			all++
			n := utf8.RuneCountInString(line)
			if n <= maxColumns || strings.Contains(line, "://") ||
				s.test && strings.ContainsAny(line, "\"`") {
				continue
			}
			where := fmt.Sprintf("%s:%d", s.path, i+1)
			if slips = append(slips, where); n > maxColumns+maxSlip {
				t.Errorf("%s has %d columns, want %d at most", where, n, maxColumns)
			}
		}
	}
	if len(slips)*1000 > all {
		t.Errorf("%d of %d lines are wider than %d columns: %s", len(slips), all, maxColumns,
			strings.Join(slips, ", "))
	}
}
