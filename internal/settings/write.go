package settings

import (
	"bytes"
	"fmt"
	"strings"
)

// Export writes the current values as a configuration file: those that
// differ from their defaults, or all. Secrets are named in a comment only.
func (r *Registry) Export(all bool) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	b.WriteString("# Settings of Postrider.\n")
	section := ""
	for i := range table {
		k := &table[i]
		source, v := r.effective(i)
		if !all && v.text == k.defaultText() {
			continue
		}
		if k.Section() != section {
			section = k.Section()
			fmt.Fprintf(&b, "\n[%s]\n", section)
		}
		if k.Type == Secret && v.text != "" {
			fmt.Fprintf(&b, "# %s is set in the %s and not shown; \"config apply\" does not change it\n",
				k.last(), source)
			continue
		}
		fmt.Fprintf(&b, "%s = %s\n", k.last(), k.toml(v.slot))
	}
	return b.Bytes()
}

// Example writes a configuration file that has every key with its help and
// its default, all behind comment signs.
func Example() []byte {
	var b bytes.Buffer
	b.WriteString("# Settings of Postrider. Each key is shown with its default value; to change\n" +
		"# one, remove the comment sign before it and before the [section] it is in.\n" +
		"# What stands here cannot be changed with the settings command or the pages.\n")
	section := ""
	for i := range table {
		k := &table[i]
		if k.Section() != section {
			section = k.Section()
			fmt.Fprintf(&b, "\n# [%s]\n", section)
		}
		b.WriteString("\n")
		for _, line := range wrap(k.Help, 76) {
			b.WriteString("## " + line + "\n")
		}
		for _, line := range wrap("Want: "+k.want()+".", 76) {
			b.WriteString("## " + line + "\n")
		}
		s, _ := k.parse(k.Default)
		fmt.Fprintf(&b, "# %s = %s\n", k.last(), k.toml(s))
	}
	return b.Bytes()
}

// Reference writes the reference manual, docs/settings.md.
func Reference() []byte {
	var b bytes.Buffer
	b.WriteString(referenceHead)
	section := ""
	for i := range table {
		k := &table[i]
		if k.Section() != section {
			section = k.Section()
			fmt.Fprintf(&b, "\n## %s\n", section)
		}
		fmt.Fprintf(&b, "\n### %s\n\n", k.Name)
		for _, line := range wrap(k.Help, 90) {
			b.WriteString(line + "\n")
		}
		def := "empty"
		if k.Default != "" {
			def = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "\n- Type: %s\n- Value: %s\n- Default: %s\n- Scope: %s\n- Change: %s\n",
			k.Type, k.want(), def, k.Scope, k.effect())
	}
	return b.Bytes()
}

const referenceHead = `# Settings

This page is made from the registry in ` + "`internal/settings`" + `; a test holds them together.

A value comes from one of four sources, each stronger than the one before: the
default, the database (` + "`postrider settings set KEY VALUE`" + `), the configuration
file, and ` + "`--set KEY=VALUE`" + ` on the command line. ` + "`postrider settings KEY`" + `
tells which one holds. What file or command line fix cannot be set in the
database meanwhile.

The file is TOML. A key stands in the table of its section or with its point:

` + "```toml" + `
pop.timeout = "10m"

[smtp]
listen = [":25"]
max_size = "64M"
` + "```" + `

On the command line and in the database lists are written with commas. Sizes are
in bytes, with K, M, G and T for powers of 1024; durations have the units ms, s, m,
h, d and w. Scope tells whether all nodes of a cluster share the value.
`

func (k *Key) effect() string {
	switch {
	case k.Boot:
		return "at the next start; in the file or on the command line only"
	case k.Restart:
		return "at the next start"
	}
	return "at once"
}

func (k *Key) last() string {
	_, last, _ := strings.Cut(k.Name, ".")
	return last
}

// defaultText is the default in its canonical form.
func (k *Key) defaultText() string {
	s, _ := k.parse(k.Default)
	return s.text
}

// toml writes a value.
func (k *Key) toml(s slot) string {
	switch {
	case k.Type == Bool:
		return s.text
	case k.Type == Int && s.text != k.Zero:
		return s.text
	case k.Type.isList():
		items := make([]string, len(s.list))
		for i, item := range s.list {
			items[i] = quote(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return quote(s.text)
}

// quote writes a TOML basic string. Values hold no control characters, so
// that only these escapes occur; bytes that are no UTF-8 become U+FFFD.
func quote(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// wrap breaks a text into lines of at most width characters.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
