// Postrider is a mail server in one program, which is also the command line
// that runs it. "postrider help" tells what it can do.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

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

// run finds the command and gives it its arguments.
func (c *call) run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "__complete" {
		c.complete(args[1:])
		return nil
	}
	line := scan(args, c.flags())
	c.JSON = line.json()
	if line.help() {
		return c.help(line.words)
	}
	cmd, rest, err := find(line.words)
	if err != nil {
		return err
	}
	c.cmd = cmd
	if err := c.parse(line, rest); err != nil {
		return err
	}
	return cmd.run(ctx, c)
}
