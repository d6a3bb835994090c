package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"postrider/internal/settings"
)

// The scripts ask the program itself: "postrider __complete WORD..." prints
// what may stand for the last word, which may be empty, a line each.
var completionScripts = map[string]string{
	"bash": `_postrider() {
	local IFS=$'\n'
	COMPREPLY=($(postrider __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _postrider postrider
`,
	"zsh": `#compdef postrider
_postrider() {
	local -a found
	found=(${(f)"$(postrider __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
	if (( $#found )); then
		compadd -- $found
	else
		_files
	fi
}
if [ "$funcstack[1]" = "_postrider" ]; then
	_postrider
else
	compdef _postrider postrider
fi
`,
	"fish": `function __postrider_complete
	set -l words (commandline -opc)
	set -e words[1]
	set -l last (commandline -ct)
	postrider __complete $words "$last" 2>/dev/null
end
complete -c postrider -a '(__postrider_complete)'
`,
}

func completion(_ context.Context, c *call) error {
	script, ok := completionScripts[c.arg(0)]
	if !ok {
		return c.usage("completion: want bash, zsh or fish")
	}
	_, err := io.WriteString(c.Stdout, script)
	return err
}

// complete prints what may stand for the last of the words.
func (c *call) complete(words []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	for _, candidate := range c.candidates(words[:len(words)-1], last) {
		if strings.HasPrefix(candidate, last) {
			fmt.Fprintln(c.Stdout, candidate)
		}
	}
}

func (c *call) candidates(before []string, last string) []string {
	line := scan(before, c.flags())
	words := line.words
	if len(words) > 0 && words[0] == "help" {
		words = words[1:]
	}
	cmd, args, err := find(words)
	if strings.HasPrefix(last, "-") {
		list := []string{"--data", "--json", "--quiet", "--help"}
		if err == nil {
			for _, name := range cmd.flags {
				if len(name) > 1 {
					list = append(list, "--"+name)
				}
			}
		}
		slices.Sort(list)
		return list
	}
	prefix := strings.Join(words, " ")
	if prefix != "" {
		prefix += " "
	}
	list := within(prefix)
	if err == nil {
		list = append(list, argumentsOf(cmd, len(args))...)
	}
	return list
}

// components are parts of the server that log under their names.
func components() []string {
	return []string{"auth", "control", "intake", "lmtp", "pop", "pops", "server", "settings", "smtp",
		"store", "submission", "submissions", "tls"}
}

// argumentsOf is what may stand for an argument of a command that has so many
// before it.
func argumentsOf(cmd *command, before int) []string {
	key := false
	switch cmd.name {
	case "settings":
		key = before == 0
	case "settings set":
		key = before%2 == 0
	case "settings reset":
		key = true
	case "log level":
		levels := []string{"1", "2", "3", "4", "5", settingsLevel}
		switch before {
		case 0:
			return append(levels, components()...)
		case 1:
			return levels
		}
	case "completion":
		return []string{"bash", "zsh", "fish"}
	}
	if !key {
		return nil
	}
	var list []string
	for _, k := range settings.Keys() {
		list = append(list, k.Name)
	}
	return list
}
