// Package cli is the command line of a program: a table of commands, and what
// a person may expect of each of them. It knows nothing of what the commands
// do.
//
// # The line
//
// A line is words and flags in any order. The words begin with the name of a
// command, which may itself have several words, and go on with its arguments.
// A flag begins with one dash or two and has its value after "=" or as the next
// argument; "--" ends the flags. A lone "-" and what begins with "-" and a digit
// are words, so that standard input and negative numbers can be arguments.
//
// # Flags
//
// All flags of the program stand in one set, so that a flag means the same
// everywhere; a command names those that it takes. Flags whose name is one
// letter are short forms of others: they work, and no help lists them.
//
// # Help
//
// "help", "help WORDS", --help and -h explain everything, a group of commands
// or one command, from the table alone. What is nearly right is answered with
// what was perhaps meant.
//
// # Completion
//
// Shells run "PROGRAM __complete WORD..." and get what may stand for the last
// word, which may be empty, a line each. Script gives what a shell must be told
// once.
//
// # Order of calls
//
// A program asks Completing, then scans the line, which cannot fail, so that
// it knows how errors are wanted before there are any; then it prints the help
// if it is asked for, or parses the line and runs its command. A mistake on the
// line is a *UsageError.
package cli

import (
	"context"
	"flag"
	"fmt"
)

// MaxWords is how many words the name of a command has at most.
const MaxWords = 3

// A Program is a table of commands. Its methods change nothing but the values
// of its flags.
type Program struct {
	Name string // as people type it
	// About begins the help of the whole program, and Exit stands before its
	// end. Both are complete lines.
	About, Exit string
	Commands    []Command // in the order of the help
	// Flags are the flags of all commands, bound to where their values go. The
	// usage of a flag begins with the name of its value in backquotes.
	Flags *flag.FlagSet
	// Everywhere are flags that every command takes.
	Everywhere []string
	// Filled are flags whose value must not be empty.
	Filled []string
	// Values gives what may stand for the value of a flag, for completion; may be
	// nil.
	Values func(flag string) []string
	// Shorten cuts a piece of the line to what an error may repeat of it.
	Shorten func(string) string
}

// A Command is one line of the table.
type Command struct {
	Name     string // up to MaxWords words
	Args     string // as the help shows them
	Min, Max int    // how many there must and may be
	Flags    []string
	About    map[string]string // flags whose meaning here is more than their general usage
	Short    string            // what it does, in a few words, without a capital or full stop
	Long     string            // what else to know, in sentences
	Examples []string
	// Complete gives what may stand for an argument that has so many before
	// it; may be nil.
	Complete func(before int) []string
	Run      func(context.Context) error
}

// A UsageError is a mistake on the command line.
type UsageError struct {
	Text    string
	Command string // whose help is of use; may be empty
	Cause   error  // what a value on the line was refused with; may be nil
}

func (e *UsageError) Error() string { return e.Text }

func (e *UsageError) Unwrap() error { return e.Cause }

// Usagef is a mistake on the line of a command; cmd may be nil. Texts among
// args are shortened.
func (p *Program) Usagef(cmd *Command, format string, args ...any) error {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = p.Shorten(s)
		}
	}
	e := &UsageError{Text: fmt.Sprintf(format, args...)}
	if cmd != nil {
		e.Command = cmd.Name
	}
	return e
}
