package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// root is the module's directory as seen from this package.
const root = "../.."

// A source is one parsed file of the program, tests included.
type source struct {
	path    string // "internal/mail/mail.go"
	pkg     string // "mail", "wire/smtp", "cmd/postrider": as the tables name it
	test    bool
	text    []byte
	file    *ast.File
	fileSet *token.FileSet
}

// at gives the position of a node, for messages.
func (s *source) at(n ast.Node) string {
	return s.path + ":" + s.fileSet.Position(n.Pos()).String()[len(s.path)+1:]
}

// lines counts the lines that a node covers.
func (s *source) lines(n ast.Node) int {
	return s.fileSet.Position(n.End()).Line - s.fileSet.Position(n.Pos()).Line + 1
}

// sources reads all Go files below internal, cmd and bench, for every system.
func sources(t *testing.T) []*source {
	t.Helper()
	var list []*source
	for _, top := range []string{"internal", "cmd", "bench"} {
		err := fs.WalkDir(os.DirFS(root), top, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "testdata" {
				return fs.SkipDir
			}
			if d.IsDir() || path.Ext(name) != ".go" {
				return nil
			}
			s, err := parse(name)
			list = append(list, s)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func parse(name string) (*source, error) {
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return nil, err
	}
	s := &source{
		path:    name,
		pkg:     strings.TrimPrefix(path.Dir(name), "internal/"),
		test:    strings.HasSuffix(name, "_test.go"),
		text:    text,
		fileSet: token.NewFileSet(),
	}
	s.file, err = parser.ParseFile(s.fileSet, name, text, parser.ParseComments)
	return s, err
}

// functions calls f for every function of the file that has a body.
func (s *source) functions(f func(*ast.FuncDecl)) {
	for _, d := range s.file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			f(fn)
		}
	}
}

// An exceptions list remembers which of its items were needed, so that a test
// fails for those that are not any more.
type exceptions struct {
	reasons map[string]string
	used    map[string]bool
}

func newExceptions(reasons map[string]string) *exceptions {
	return &exceptions{reasons, map[string]bool{}}
}

func (e *exceptions) has(item string) bool {
	_, ok := e.reasons[item]
	e.used[item] = ok
	return ok
}

func (e *exceptions) check(t *testing.T) {
	t.Helper()
	for item := range e.reasons {
		if !e.used[item] {
			t.Errorf("the exception %q is not needed any more", item)
		}
	}
}
