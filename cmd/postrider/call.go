package main

import (
	"time"

	"postrider/internal/cli"
	"postrider/internal/mail"
	"postrider/internal/terminal"
)

// A call is one run of the program.
type call struct {
	terminal.Terminal
	program *cli.Program
	line    *cli.Line
	opt     options
	// content says that the operation works on the content of a file.
	content bool
	// patience is how long to wait for a server that is starting.
	patience time.Duration
}

// usage is a mistake on the command line; texts among args are cut to what a
// person can read.
func (c *call) usage(format string, args ...any) error {
	return c.program.Usagef(c.line.Command, format, args...)
}

// refused makes an operation's complaint about a value a mistake on the
// command line, unless the command has read a file: it may be there.
func (c *call) refused(err error) error {
	if err == nil || c.content || mail.KindOf(err) != mail.Invalid {
		return err
	}
	return &cli.UsageError{Text: err.Error(), Command: c.line.Command.Name, Cause: err}
}
