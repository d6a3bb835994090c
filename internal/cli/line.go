package cli

import (
	"flag"
	"io"
	"regexp"
	"slices"
	"strings"
)

// A Line is a command line: after Scan its words and flags are told apart,
// after Parse it is understood.
type Line struct {
	Words []string // what is no flag, in order

	// From here on it is Parse that fills.
	Command *Command
	Args    []string
	Given   map[string]bool // the flags that stand on the line, by name

	flags []string // as package flag takes them
	open  string   // the flag at the end of the line whose value is missing
}

// Arg is an argument, or empty if it was not given.
func (l *Line) Arg(i int) string {
	if i < len(l.Args) {
		return l.Args[i]
	}
	return ""
}

// Scan tells words from flags. A flag that is not known takes no value.
func (p *Program) Scan(args []string) *Line {
	l := new(Line)
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			l.Words = append(l.Words, args[i+1:]...)
			return l
		case len(arg) < 2 || arg[0] != '-' || '0' <= arg[1] && arg[1] <= '9':
			l.Words = append(l.Words, arg)
			continue
		}
		l.flags = append(l.flags, arg)
		name := strings.TrimLeft(arg, "-")
		if f := p.Flags.Lookup(name); f == nil || isBool(f) {
			continue
		}
		if i++; i < len(args) {
			l.flags = append(l.flags, args[i])
		} else {
			l.open = name
		}
	}
	return l
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// Has says whether a flag without a value stands on the line, before anything
// is parsed.
func (l *Line) Has(name string) bool {
	return slices.ContainsFunc(l.flags, func(f string) bool {
		return f == "--"+name || f == "-"+name || f == "--"+name+"=true"
	})
}

// WantsHelp says whether the help is asked for; an empty line does.
func (l *Line) WantsHelp() bool {
	return len(l.Words) > 0 && l.Words[0] == "help" || len(l.Words) == 0 && len(l.flags) == 0 ||
		slices.ContainsFunc(l.flags, func(f string) bool {
			return f == "-h" || f == "--help" || f == "-help"
		})
}

// Parse finds the command, reads its flags and counts its arguments. The error
// is a *UsageError. Where there is one, Command is known if Parse got so far,
// and some flags may have their values already.
func (p *Program) Parse(l *Line) (err error) {
	if l.Command, l.Args, err = p.find(l.Words); err != nil {
		return err
	}
	fs := flag.NewFlagSet(l.Command.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	allowed := slices.Concat(p.Everywhere, l.Command.Flags)
	for _, name := range allowed {
		f := p.Flags.Lookup(name)
		fs.Var(f.Value, f.Name, f.Usage)
	}
	if err := fs.Parse(l.flags); err != nil {
		return p.flagError(l.Command, err, allowed)
	}
	l.Given = map[string]bool{}
	fs.Visit(func(f *flag.Flag) { l.Given[f.Name] = true })
	return p.check(l)
}

// check counts the arguments and looks for values that are missing.
func (p *Program) check(l *Line) error {
	cmd := l.Command
	switch {
	case len(l.Args) < cmd.Min:
		return p.Usagef(cmd, "%s: an argument is missing", cmd.Name)
	case len(l.Args) > cmd.Max:
		return p.Usagef(cmd, "%s: %q is too much", cmd.Name, l.Args[cmd.Max])
	}
	for _, name := range p.Filled {
		if l.Given[name] && p.Flags.Lookup(name).Value.String() == "" {
			return p.Usagef(cmd, "%s: --%s has no value; leave it out, or name one", cmd.Name, name)
		}
	}
	return nil
}

// wrongFlag is what package flag says of a value that it cannot read.
var wrongFlag = regexp.MustCompile(`(?s)^invalid (boolean )?value "(.*)" for (?:flag )?-([^:]*): `)

// flagError says what is wrong with a flag, and which was perhaps meant.
func (p *Program) flagError(cmd *Command, err error, allowed []string) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return p.Usagef(cmd, "%s: --%s needs a value after it", cmd.Name, name)
	}
	if m := wrongFlag.FindStringSubmatch(text); m != nil {
		want := "a whole number"
		if m[1] != "" {
			want = "true or false"
		}
		return p.Usagef(cmd, "%s: --%s %q: want %s", cmd.Name, m[3], m[2], want)
	}
	name, ok := strings.CutPrefix(text, "flag provided but not defined: -")
	if !ok {
		return p.Usagef(cmd, "%s: %s", cmd.Name, text)
	}
	name = strings.TrimLeft(name, "-")
	if len(name) == 1 {
		return p.Usagef(cmd, "%s has no flag -%s", cmd.Name, name)
	}
	near := nearest(name, slices.DeleteFunc(allowed, func(s string) bool { return len(s) == 1 }))
	if near == "" {
		return p.Usagef(cmd, "%s has no flag --%s", cmd.Name, name)
	}
	return p.Usagef(cmd, "%s has no flag --%s; did you mean --%s?", cmd.Name, name, near)
}
