// Postrider is a mail server in one program, which is also the command line
// that runs it. "postrider help" tells what it can do.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"postrider/internal/cli"
	"postrider/internal/terminal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status, ok := asService(ctx, os.Args[1:])
	if !ok {
		status = run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	}
	stop()
	os.Exit(status)
}

// run carries out one command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &call{
		Terminal: terminal.Terminal{Stdin: stdin, Stdout: stdout, Stderr: stderr},
		patience: startingTime,
	}
	return c.finish(c.run(ctx, args))
}

// run finds the command and runs it.
func (c *call) run(ctx context.Context, args []string) error {
	c.program = c.newProgram()
	if words, ok := cli.Completing(args); ok {
		return c.program.Complete(c.Stdout, words)
	}
	c.line = c.program.Scan(args)
	c.JSON = c.line.Has("json")
	if c.line.WantsHelp() {
		return c.help()
	}
	if len(c.line.Words) == 0 && (c.line.Has("version") || c.line.Has("v")) {
		return c.version(ctx) // as many programs do
	}
	if err := c.program.Parse(c.line); err != nil {
		return err
	}
	return c.line.Command.Run(ctx)
}

// A helpText is the help as JSON.
type helpText struct {
	Help string `json:"help"`
}

func (c *call) help() error {
	var b strings.Builder
	if err := c.program.Help(&b, c.line.Words); err != nil {
		return err
	}
	return c.Answer(helpText{b.String()}, func(w io.Writer) { io.WriteString(w, b.String()) })
}
