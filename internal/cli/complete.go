package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// completing is the first word of a line that a shell asks with.
const completing = "__complete"

// scripts are for each shell what it must be told; NAME stands for the program.
var scripts = map[string]string{
	"bash": `_NAME() {
	local IFS=$'\n'
	COMPREPLY=($(NAME ` + completing + ` "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _NAME NAME
`,
	"zsh": `#compdef NAME
_NAME() {
	local -a found
	found=(${(f)"$(NAME ` + completing + ` "${(@)words[2,CURRENT]}" 2>/dev/null)"})
	if (( $#found )); then
		compadd -- $found
	else
		_files
	fi
}
if [ "$funcstack[1]" = "_NAME" ]; then
	_NAME
else
	compdef _NAME NAME
fi
`,
	"fish": `function __NAME_complete
	set -l words (commandline -opc)
	set -e words[1]
	set -l last (commandline -ct)
	NAME ` + completing + ` $words "$last" 2>/dev/null
end
complete -c NAME -a '(__NAME_complete)'
`,
}

// Script is what bash, zsh or fish must be told to complete lines of this program.
func (p *Program) Script(shell string) (script string, ok bool) {
	script, ok = scripts[shell]
	return strings.ReplaceAll(script, "NAME", p.Name), ok
}

// Completing says whether a shell asks for completion, and of which words.
func Completing(args []string) (words []string, ok bool) {
	if len(args) == 0 || args[0] != completing {
		return nil, false
	}
	return args[1:], true
}

// Complete prints what may stand for the last of the words, a line each.
func (p *Program) Complete(w io.Writer, words []string) error {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	for _, candidate := range p.candidates(words[:len(words)-1], last) {
		if !strings.HasPrefix(candidate, last) {
			continue
		}
		if _, err := fmt.Fprintln(w, candidate); err != nil {
			return err
		}
	}
	return nil
}

// candidates are what may stand after the words before, if it begins as last.
func (p *Program) candidates(before []string, last string) []string {
	line := p.Scan(before)
	if line.open != "" {
		if p.Values == nil {
			return nil
		}
		return p.Values(line.open)
	}
	words := line.Words
	if len(words) > 0 && words[0] == "help" {
		words = words[1:]
	}
	cmd, args, err := p.find(words)
	if strings.HasPrefix(last, "-") {
		names := append([]string{"help"}, p.Everywhere...)
		if err == nil {
			names = append(names, cmd.Flags...)
		}
		return flagWords(names)
	}
	prefix := strings.Join(words, " ")
	if prefix != "" {
		prefix += " "
	}
	list := p.within(prefix)
	if err == nil && cmd.Complete != nil {
		list = append(list, cmd.Complete(len(args))...)
	}
	return list
}

// flagWords writes the names of flags as they stand on a line, by name.
func flagWords(names []string) []string {
	var list []string
	for _, name := range names {
		if len(name) > 1 {
			list = append(list, "--"+name)
		}
	}
	slices.Sort(list)
	return list
}
