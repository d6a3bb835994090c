package settings

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"postrider/internal/mail"
)

const (
	// maxFile bounds the configuration file, in bytes.
	maxFile = 1 << 20
	// maxComplaints is how many mistakes of a file are listed.
	maxComplaints = 20
)

// A fileReader walks through a TOML document and collects what it sets.
type fileReader struct {
	registry *Registry
	name     string
	parser   unstable.Parser
	table    string // the table that the next keys are in, with its point
	layer    map[int]setting
	lines    map[int]int // where a key was set
	wrong    []string
}

// parseFile reads a configuration file. The keys may stand in tables or with
// points; both are the same.
func (r *Registry) parseFile(name string, content []byte) (map[int]setting, error) {
	if len(content) > maxFile {
		return nil, mail.Errorf(mail.Invalid, name+": larger than 1 MB; that is no settings file")
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	// The reader below looks at expressions only; this finds what is no
	// TOML as a whole.
	var whole map[string]any
	if err := toml.Unmarshal(content, &whole); err != nil {
		return nil, r.tomlError(name, content, err)
	}
	f := &fileReader{registry: r, name: name,
		layer: make(map[int]setting), lines: make(map[int]int)}
	f.parser.Reset(content)
	for f.parser.NextExpression() {
		f.expression(f.parser.Expression())
	}
	if err := f.parser.Error(); err != nil {
		return nil, r.tomlError(name, content, err)
	}
	if n := len(f.wrong) - maxComplaints; n > 0 {
		f.wrong = append(f.wrong[:maxComplaints], fmt.Sprintf("%s: and %d more", name, n))
	}
	if len(f.wrong) > 0 {
		return nil, mail.Errorf(mail.Invalid, strings.Join(f.wrong, "\n"))
	}
	return f.layer, nil
}

func (r *Registry) tomlError(name string, content []byte, err error) error {
	text := strings.TrimPrefix(err.Error(), "toml: ")
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := e.Position()
		name = fmt.Sprintf("%s:%d:%d", name, line, column)
		if advice := r.advise(content, line); advice != "" {
			text += "; " + advice
		}
	}
	return mail.Errorf(mail.Invalid, name+": this is not TOML: "+text)
}

var (
	sectionLine = regexp.MustCompile(`^\s*\[\s*([\w.]+)\s*\]`)
	valueLine   = regexp.MustCompile(`^\s*([\w.]+)\s*=\s*(.*?)\s*(#.*)?$`)
)

// advise tells how the value in a line that is no TOML would be right, if the
// line names a key. It reads lines, not TOML: that is what there is.
func (r *Registry) advise(content []byte, line int) string {
	lines := strings.Split(string(content), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	m := valueLine.FindStringSubmatch(lines[line-1])
	if m == nil {
		return ""
	}
	name := m[1]
	for _, before := range slices.Backward(lines[:line-1]) {
		if section := sectionLine.FindStringSubmatch(before); section != nil {
			name = section[1] + "." + name
			break
		}
	}
	i, ok := r.names[name]
	if !ok {
		return unknown(name)
	}
	k := &table[i]
	if k.Type == Secret {
		return name + " is written in quotes"
	}
	if s, wrong := k.parse(strings.Trim(m[2], "[]\"' ")); wrong == "" && m[2] != "" {
		return "write " + m[1] + " = " + k.toml(s)
	}
	return name + ": want " + k.want()
}

func (f *fileReader) expression(n *unstable.Node) {
	switch n.Kind {
	case unstable.Table:
		name, _ := f.path(n.Key())
		f.table = name + "."
		if !isSection(name) {
			f.complain(n, unknownSection(name))
			f.table = "\x00" // its keys are not listed one by one
		}
	case unstable.ArrayTable:
		name, _ := f.path(n.Key())
		f.complain(n, "[["+name+"]]: settings have no lists of tables; write ["+name+"]")
		f.table = "\x00"
	case unstable.KeyValue:
		if f.table != "\x00" {
			f.keyValue(f.table, n)
		}
	}
}

func isSection(name string) bool {
	return slices.ContainsFunc(table[:], func(k Key) bool { return k.Section() == name })
}

// path joins the parts of a dotted key, and gives its last node.
func (f *fileReader) path(it unstable.Iterator) (string, *unstable.Node) {
	var parts []string
	var last *unstable.Node
	for it.Next() {
		last = it.Node()
		parts = append(parts, string(last.Data))
	}
	return strings.Join(parts, "."), last
}

func (f *fileReader) keyValue(prefix string, n *unstable.Node) {
	name, key := f.path(n.Key())
	name = prefix + name
	value := n.Value()
	if value.Kind == unstable.InlineTable {
		for it := value.Children(); it.Next(); {
			f.keyValue(name+".", it.Node())
		}
		return
	}
	i, ok := f.registry.names[name]
	if !ok {
		f.complain(key, unknown(name))
		return
	}
	k := &table[i]
	if first, ok := f.lines[i]; ok {
		f.complain(key, fmt.Sprintf("%s is set already in line %d", name, first))
		return
	}
	f.lines[i] = f.line(key)
	text, wrong := f.text(k, value)
	var s slot
	if wrong == "" {
		s, wrong = k.parse(text)
	}
	if wrong != "" {
		f.complain(key, k.complain(text, wrong))
		return
	}
	f.layer[i] = setting{s, fmt.Sprintf("%s:%d", f.name, f.lines[i])}
}

// text gives a TOML value as its key reads it. Lists may also be written as
// one string, and numbers in quotes; a bare number is no duration.
func (f *fileReader) text(k *Key, v *unstable.Node) (text, wrong string) {
	text = string(v.Data)
	switch v.Kind {
	case unstable.String:
		return text, ""
	case unstable.Array:
		if !k.Type.isList() {
			return "[…]", "is a list"
		}
		return f.array(v)
	case unstable.Bool:
		if k.Type != Bool {
			return text, "is not in quotes"
		}
		return text, ""
	case unstable.Integer:
		if k.Type != Int && k.Type != Size && k.Type != Bool && (k.Type != Duration || text != "0") {
			return text, "is a bare number"
		}
		n, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return text, "is not a " + k.Type.String()
		}
		return strconv.FormatInt(n, 10), ""
	}
	return text, "is a " + strings.ToLower(v.Kind.String())
}

// array joins the items of a list.
func (f *fileReader) array(v *unstable.Node) (text, wrong string) {
	var items []string
	for it := v.Children(); it.Next(); {
		n := it.Node()
		switch {
		case n.Kind == unstable.Comment:
			continue
		case n.Kind != unstable.String:
			return string(n.Data), "is not in quotes"
		case bytes.ContainsRune(n.Data, ','):
			return string(n.Data), "contains a comma"
		}
		items = append(items, string(n.Data))
	}
	return strings.Join(items, ", "), ""
}

func (f *fileReader) line(n *unstable.Node) int {
	return f.parser.Shape(n.Raw).Start.Line
}

func (f *fileReader) complain(n *unstable.Node, text string) {
	if n.Kind == unstable.Table || n.Kind == unstable.ArrayTable {
		_, n = f.path(n.Key())
	}
	f.wrong = append(f.wrong, fmt.Sprintf("%s:%d: %s", f.name, f.line(n), text))
}
