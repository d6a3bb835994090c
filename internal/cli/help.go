package cli

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"postrider/internal/terminal"
)

// helpWidth is how wide the text of a command is, in bytes.
const helpWidth = 80

// Help explains what the words name: the program, a group of commands, or a
// command. A first word "help" is passed over. The error is a *UsageError.
func (p *Program) Help(w io.Writer, words []string) error {
	if len(words) > 0 && words[0] == "help" {
		words = words[1:]
	}
	if len(words) == 0 {
		p.printOverview(w)
		return nil
	}
	cmd, _, err := p.find(words)
	if err == nil {
		p.printCommand(w, cmd)
		if p.isGroup(cmd.Name) {
			fmt.Fprintln(w)
			p.printCommands(w, cmd.Name+" ")
		}
		return nil
	}
	prefix := words[0] + " "
	if len(words) > 1 && p.isGroup(words[0]+" "+words[1]) {
		prefix += words[1] + " "
	} else if len(words) > 1 || !p.isGroup(words[0]) {
		return err
	}
	p.printCommands(w, prefix)
	fmt.Fprintf(w, "\n\"%s help %sCOMMAND\" tells more about one.\n", p.Name, prefix)
	return nil
}

func (p *Program) printOverview(w io.Writer) {
	fmt.Fprint(w, p.About+"\nCommands:\n\n")
	p.printCommands(w, "")
	fmt.Fprint(w, "\nEvery command takes these flags, anywhere on the line:\n\n")
	p.printFlags(w, p.Everywhere, nil)
	fmt.Fprintf(w, "\n%s\n\"%s help COMMAND\" tells more about one.\n", p.Exit, p.Name)
}

// printCommands lists the commands whose names begin with prefix.
func (p *Program) printCommands(w io.Writer, prefix string) {
	var rows [][]string
	for i := range p.Commands {
		if c := &p.Commands[i]; strings.HasPrefix(c.Name, prefix) {
			rows = append(rows, []string{"  " + strings.TrimSpace(c.Name+" "+c.Args), c.Short})
		}
	}
	terminal.Table(w, rows)
}

func (p *Program) printCommand(w io.Writer, cmd *Command) {
	line := strings.TrimSpace(p.Name + " " + cmd.Name + " " + cmd.Args)
	if len(cmd.Flags) > 0 {
		line += " [FLAG]..."
	}
	fmt.Fprintf(w, "%s\n\n%s%s.\n", line, strings.ToUpper(cmd.Short[:1]), cmd.Short[1:])
	if cmd.Long != "" {
		fmt.Fprintf(w, "%s\n", terminal.Fold(cmd.Long, helpWidth))
	}
	fmt.Fprint(w, "\nFlags:\n\n")
	p.printFlags(w, slices.Concat(cmd.Flags, p.Everywhere), cmd.About)
	if len(cmd.Examples) > 0 {
		fmt.Fprint(w, "\nExamples:\n\n")
		for _, e := range cmd.Examples {
			fmt.Fprintf(w, "  %s\n", e)
		}
	}
}

// printFlags lists flags with their usage, or what about says instead.
func (p *Program) printFlags(w io.Writer, names []string, about map[string]string) {
	var rows [][]string
	for _, name := range names {
		if len(name) == 1 {
			continue // a short form of another
		}
		f := *p.Flags.Lookup(name)
		if text, ok := about[name]; ok {
			f.Usage = text
		}
		value, usage := flag.UnquoteUsage(&f)
		usage = strings.TrimSpace(strings.TrimPrefix(usage, value))
		if isBool(&f) {
			value = ""
		}
		rows = append(rows, []string{"  " + strings.TrimSpace("--"+name+" "+value), usage})
	}
	terminal.Table(w, rows)
}
