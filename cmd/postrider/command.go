package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"postrider/internal/control"
	"postrider/internal/mail"
	"postrider/internal/terminal"
)

// A command is one line of the table. Its name may have several words.
type command struct {
	name     string
	args     string // as the help shows them
	min, max int    // how many there must and may be
	flags    []string
	about    map[string]string // flags whose meaning here is more than their general text
	short    string            // what it does, in a few words
	long     string            // what else to know
	examples []string
	run      func(context.Context, *call) error
}

// A call is one run of a command.
type call struct {
	terminal.Terminal
	cmd   *command
	args  []string
	opt   options
	given map[string]bool // the flags that stand on the line
	// content says that the operation works on the content of a file.
	content bool
	// patience is how long to wait for a server that is starting.
	patience time.Duration
}

// A usageError is a mistake on the command line.
type usageError struct {
	text  string
	cmd   *command // whose help is of use; may be nil
	cause error    // what a value on the line was refused with; may be nil
}

func (e *usageError) Error() string { return e.text }

func (e *usageError) Unwrap() error { return e.cause }

// usage is a usageError; texts among args are cut to what a person can read.
func (c *call) usage(format string, args ...any) error {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = control.Short(s)
		}
	}
	return &usageError{text: fmt.Sprintf(format, args...), cmd: c.cmd}
}

// refused makes an operation's complaint about a value a mistake on the
// command line, unless the command has read a file: it may be there.
func (c *call) refused(err error) error {
	if err == nil || c.content || mail.KindOf(err) != mail.Invalid {
		return err
	}
	return &usageError{text: err.Error(), cmd: c.cmd, cause: err}
}

// A commandLine is what stands on the line: words and flags in any order.
type commandLine struct {
	words []string
	flags []string // as package flag takes them
	plain int      // how many words stand before "--"; those after it are arguments
}

// scan tells words from flags. A flag that takes a value has it after "=" or
// as the next argument; "--" ends the flags. "-" and numbers are words.
func scan(args []string, known *flag.FlagSet) commandLine {
	var l commandLine
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			l.plain = len(l.words)
			l.words = append(l.words, args[i+1:]...)
			return l
		case len(arg) < 2 || arg[0] != '-' || '0' <= arg[1] && arg[1] <= '9':
			l.words = append(l.words, arg)
			continue
		}
		l.flags = append(l.flags, arg)
		name := strings.TrimLeft(arg, "-")
		if f := known.Lookup(name); f != nil && !isBool(f) && i+1 < len(args) {
			i++
			l.flags = append(l.flags, args[i])
		}
	}
	l.plain = len(l.words)
	return l
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// json says whether errors are wanted as JSON, before the flags are parsed.
func (l commandLine) json() bool {
	return slices.ContainsFunc(l.flags, func(f string) bool {
		return f == "--json" || f == "-json" || f == "--json=true"
	})
}

// help says whether the help is asked for.
func (l commandLine) help() bool {
	return len(l.words) > 0 && l.words[0] == "help" || len(l.words) == 0 && len(l.flags) == 0 ||
		slices.ContainsFunc(l.flags, func(f string) bool {
			return f == "-h" || f == "--help" || f == "-help"
		})
}

// find takes the command with the longest name that the words begin with.
func find(words []string) (*command, []string, error) {
	for n := min(len(words), maxWords); n > 0; n-- {
		name := strings.Join(words[:n], " ")
		for i, all := 0, commands(); i < len(all); i++ {
			if all[i].name == name {
				return &all[i], words[n:], nil
			}
		}
	}
	return nil, nil, &usageError{text: unknown(words)}
}

// maxWords is how many words a command's name has at most.
const maxWords = 3

// unknown says that the words name no command, and what may be meant.
func unknown(words []string) string {
	if len(words) == 0 {
		return "a command is missing"
	}
	group, wrong := "", control.Short(words[0])
	if len(words) > 1 && isGroup(words[0]) {
		group, wrong = words[0]+" ", control.Short(words[1])
	} else if isGroup(words[0]) {
		return fmt.Sprintf("%q needs another word: %s", words[0],
			strings.Join(within(words[0]+" "), ", "))
	}
	text := fmt.Sprintf("there is no command %q", group+wrong)
	if near := nearest(wrong, within(group)); near != "" {
		text += fmt.Sprintf("; did you mean %q?", group+near)
	} else if group != "" {
		text += "; there are " + strings.Join(within(group), ", ")
	}
	return text
}

// isGroup says whether commands of several words begin with this one.
func isGroup(word string) bool { return len(within(word+" ")) > 0 }

// within lists the words that may follow a prefix of whole words.
func within(prefix string) []string {
	var list []string
	for _, cmd := range commands() {
		rest, ok := strings.CutPrefix(cmd.name, prefix)
		if !ok {
			continue
		}
		word, _, _ := strings.Cut(rest, " ")
		if !slices.Contains(list, word) {
			list = append(list, word)
		}
	}
	return list
}

// parse reads the flags of the command and checks its arguments.
func (c *call) parse(line commandLine, args []string) error {
	fs := flag.NewFlagSet(c.cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	all := c.flags()
	allowed := append([]string{"data", "json", "quiet", "q"}, c.cmd.flags...)
	for _, name := range allowed {
		f := all.Lookup(name)
		fs.Var(f.Value, f.Name, f.Usage)
	}
	if err := fs.Parse(line.flags); err != nil {
		return c.flagError(err, allowed)
	}
	c.given = map[string]bool{}
	fs.Visit(func(f *flag.Flag) { c.given[f.Name] = true })
	c.args = args
	switch {
	case len(args) < c.cmd.min:
		return c.usage("%s: an argument is missing", c.cmd.name)
	case len(args) > c.cmd.max:
		return c.usage("%s: %q is too much", c.cmd.name, args[c.cmd.max])
	}
	for _, name := range []string{"domain", "since", "host", "quota", "config", "data"} {
		if c.given[name] && all.Lookup(name).Value.String() == "" {
			return c.usage("%s: --%s has no value; leave it out, or name one", c.cmd.name, name)
		}
	}
	return nil
}

// wrongFlag is what package flag says of a value that it cannot read.
var wrongFlag = regexp.MustCompile(`(?s)^invalid (boolean )?value "(.*)" for (?:flag )?-([^:]*): `)

// flagError says what is wrong with a flag, and which was perhaps meant.
func (c *call) flagError(err error, allowed []string) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return c.usage("%s: --%s needs a value after it", c.cmd.name, name)
	}
	if m := wrongFlag.FindStringSubmatch(text); m != nil {
		want := "a whole number"
		if m[1] != "" {
			want = "true or false"
		}
		return c.usage("%s: --%s %q: want %s", c.cmd.name, m[3], m[2], want)
	}
	name, ok := strings.CutPrefix(text, "flag provided but not defined: -")
	if !ok {
		return c.usage("%s: %s", c.cmd.name, text)
	}
	name = strings.TrimLeft(name, "-")
	near := nearest(name, allowed)
	if near == "" {
		return c.usage("%s has no flag --%s", c.cmd.name, name)
	}
	return c.usage("%s has no flag --%s; did you mean --%s?", c.cmd.name, name, near)
}

// arg is an argument, or empty if it was not given.
func (c *call) arg(i int) string {
	if i < len(c.args) {
		return c.args[i]
	}
	return ""
}
