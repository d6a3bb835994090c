package lint

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// panics are functions that may panic, each with its reason.
var panics = map[string]string{}

// variables may be variables of a package though they are neither an error,
// nor a table, nor a check that a type has the methods of an interface.
var variables = map[string]string{}

// constructors make values that do not change.
var constructors = []string{
	"errors.New", "fmt.Errorf", "mail.Errorf", "mail.NewReply", "regexp.MustCompile",
	"netip.MustParseAddr", "netip.MustParsePrefix", "strings.NewReplacer", "template.Must",
	"base64.NewEncoding", "crc32.MakeTable", "prometheus.NewDesc",
	"quick", "long", // operations of control
	"pathRefusals", // replies of wire/smtp
}

func TestNoPanicNoInit(t *testing.T) {
	allowed := newExceptions(panics)
	for _, s := range sources(t) {
		if s.test || slices.Contains(testPackages, s.pkg) {
			continue
		}
		s.functions(func(f *ast.FuncDecl) {
			if f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: package %s has an init function", s.at(f), s.pkg)
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && isPanic(call) &&
					!allowed.has(s.pkg+"."+f.Name.Name) {
					t.Errorf("%s: %s panics", s.at(n), f.Name)
				}
				return true
			})
		})
	}
	allowed.check(t)
}

func isPanic(c *ast.CallExpr) bool {
	id, ok := c.Fun.(*ast.Ident)
	return ok && id.Name == "panic"
}

func TestNoPackageState(t *testing.T) {
	allowed := newExceptions(variables)
	for _, s := range sources(t) {
		if s.test || slices.Contains(testPackages, s.pkg) {
			continue
		}
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					if !constant(v, i, g) && !allowed.has(s.pkg+"."+name.Name) {
						t.Errorf("%s: package %s keeps state in %s", s.at(name), s.pkg, name)
					}
				}
			}
		}
	}
	allowed.check(t)
}

// constant says whether a variable is meant not to change.
func constant(v *ast.ValueSpec, i int, g *ast.GenDecl) bool {
	if v.Names[i].Name == "_" || embedded(g.Doc) || embedded(v.Doc) {
		return true
	}
	if i >= len(v.Values) {
		return false
	}
	switch x := v.Values[i].(type) {
	case *ast.CompositeLit:
		return true
	case *ast.UnaryExpr:
		_, ok := x.X.(*ast.CompositeLit)
		return ok
	case *ast.CallExpr:
		return constructed(x)
	case *ast.SelectorExpr:
		return true // a value of another package, such as binary.LittleEndian
	}
	return false
}

// constructed says whether a call makes a value that does not change: one of
// the constructors, a table computed on the spot, or a constant as bytes.
func constructed(c *ast.CallExpr) bool {
	switch f := c.Fun.(type) {
	case *ast.SelectorExpr:
		if pkg, ok := f.X.(*ast.Ident); ok {
			return slices.Contains(constructors, pkg.Name+"."+f.Sel.Name)
		}
	case *ast.Ident:
		return slices.Contains(constructors, f.Name)
	case *ast.FuncLit:
		return len(c.Args) == 0
	case *ast.ArrayType:
		_, ok := c.Args[0].(*ast.BasicLit)
		return ok
	}
	return false
}

func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}
