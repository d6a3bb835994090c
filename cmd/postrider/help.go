package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"postrider/internal/terminal"
)

func programCommands() []command {
	return []command{
		{
			name: "version", max: 0,
			short: "tell which program this is",
			run:   version,
		},
		{
			name: "completion", args: "bash|zsh|fish", min: 1, max: 1,
			short: "write the completion of this program for a shell",
			long: "bash: put it into /etc/bash_completion.d/postrider. zsh: into _postrider in a " +
				"directory of $fpath. fish: into ~/.config/fish/completions/postrider.fish.",
			examples: []string{"source <(postrider completion bash)"},
			run:      completion,
		},
		{
			name: "help", args: "[COMMAND]", max: maxWords,
			short: "explain a command",
			run:   func(_ ctx, c *call) error { return c.help(append([]string{"help"}, c.args...)) },
		},
	}
}

// help explains the command that the words name, or all of them.
func (c *call) help(words []string) error {
	if len(words) > 0 && words[0] == "help" {
		words = words[1:]
	}
	if len(words) == 0 {
		c.printOverview(c.Stdout)
		return nil
	}
	cmd, _, err := find(words)
	if err == nil {
		c.printCommand(c.Stdout, cmd)
		if isGroup(cmd.name) {
			fmt.Fprintln(c.Stdout)
			printCommands(c.Stdout, cmd.name+" ")
		}
		return nil
	}
	prefix := words[0] + " "
	if len(words) > 1 && isGroup(words[0]+" "+words[1]) {
		prefix += words[1] + " "
	} else if len(words) > 1 || !isGroup(words[0]) {
		return err
	}
	printCommands(c.Stdout, prefix)
	fmt.Fprintf(c.Stdout, "\n\"postrider help %sCOMMAND\" tells more about one.\n", prefix)
	return nil
}

func (c *call) printOverview(w io.Writer) {
	fmt.Fprint(w, "Postrider is a mail server in one program.\n\n"+
		"  postrider serve               run it; the first time it makes all it needs\n"+
		"  postrider setup example.org   make it the server of a domain\n\nCommands:\n\n")
	printCommands(w, "")
	fmt.Fprint(w, "\nEvery command takes these flags, anywhere on the line:\n\n")
	printFlags(w, c.flags(), []string{"data", "json", "quiet"})
	fmt.Fprint(w, "\nExit status: 0 done, 1 failed, 2 wrong command line, 3 not found,\n"+
		"4 exists already, 5 server or data directory not reachable, 6 damage found.\n\n"+
		"\"postrider help COMMAND\" tells more about one.\n")
}

// printCommands lists the commands whose names begin with prefix.
func printCommands(w io.Writer, prefix string) {
	var rows [][]string
	for _, cmd := range commands() {
		if strings.HasPrefix(cmd.name, prefix) {
			rows = append(rows, []string{"  " + strings.TrimSpace(cmd.name+" "+cmd.args), cmd.short})
		}
	}
	terminal.Table(w, rows)
}

func (c *call) printCommand(w io.Writer, cmd *command) {
	line := strings.TrimSpace("postrider " + cmd.name + " " + cmd.args)
	if len(cmd.flags) > 0 {
		line += " [FLAG]..."
	}
	fmt.Fprintf(w, "%s\n\n%s%s.\n", line, strings.ToUpper(cmd.short[:1]), cmd.short[1:])
	if cmd.long != "" {
		fmt.Fprintf(w, "%s\n", terminal.Fold(cmd.long, 80))
	}
	fmt.Fprint(w, "\nFlags:\n\n")
	fs := c.flags()
	for name, text := range cmd.about {
		fs.Lookup(name).Usage = text
	}
	printFlags(w, fs, slices.Concat(cmd.flags, []string{"data", "json", "quiet"}))
	if len(cmd.examples) > 0 {
		fmt.Fprint(w, "\nExamples:\n\n")
		for _, e := range cmd.examples {
			fmt.Fprintf(w, "  %s\n", e)
		}
	}
}

func printFlags(w io.Writer, fs *flag.FlagSet, names []string) {
	var rows [][]string
	for _, name := range names {
		if len(name) == 1 {
			continue // a short form of another
		}
		value, usage := flag.UnquoteUsage(fs.Lookup(name))
		usage = strings.TrimSpace(strings.TrimPrefix(usage, value))
		if isBool(fs.Lookup(name)) {
			value = ""
		}
		rows = append(rows, []string{strings.TrimSpace("  --" + name + " " + value), usage})
	}
	for i := range rows {
		rows[i][0] = "  " + strings.TrimSpace(rows[i][0])
	}
	terminal.Table(w, rows)
}

// nearest finds the word most like the given one, or nothing if none is near.
func nearest(wrong string, words []string) string {
	best, found := 1+max(1, len(wrong)/3), ""
	for _, w := range words {
		if d := distance(wrong, w); d < best {
			best, found = d, w
		}
		if len(wrong) >= 3 && strings.HasPrefix(w, wrong) && best > 1 {
			best, found = 1, w
		}
	}
	return found
}

// maxWord bounds the words that are compared, in bytes.
const maxWord = 40

// distance counts the letters to insert, remove or replace to get from a to b.
func distance(a, b string) int {
	if len(a) > maxWord || len(b) > maxWord {
		return maxWord
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
