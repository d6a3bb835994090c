package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postrider/internal/cli"
	"postrider/internal/control"
	"postrider/internal/mail"
	"postrider/internal/terminal"
)

// The exit statuses, which scripts rely on.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitExists      = 4
	exitUnreachable = 5
	exitDamaged     = 6
)

// exitStatus is that of an error.
func exitStatus(err error) int {
	if err == nil {
		return exitDone
	}
	if _, ok := errors.AsType[*cli.UsageError](err); ok {
		return exitUsage
	}
	switch mail.KindOf(err) {
	case mail.NotFound:
		return exitNotFound
	case mail.Exists:
		return exitExists
	case mail.Unreachable, mail.Locked:
		return exitUnreachable
	case mail.Damaged:
		return exitDamaged
	default:
		return exitFailed
	}
}

// finish prints the error, if any, and gives the exit status.
func (c *call) finish(err error) int {
	if err == nil {
		return exitDone
	}
	if errors.Is(err, context.Canceled) {
		err = mail.Errorf(mail.Internal, "interrupted")
	}
	kind := control.KindName(err)
	usage, wrong := errors.AsType[*cli.UsageError](err)
	if wrong {
		kind = "usage"
		if usage.Cause != nil {
			kind = control.KindName(usage.Cause)
		}
	}
	text := cutLines(err.Error())
	if c.JSON {
		terminal.WriteJSON(c.Stderr, struct {
			Error string `json:"error"`
			Kind  string `json:"kind"`
		}{text, kind})
		return exitStatus(err)
	}
	fmt.Fprintln(c.Stderr, "postrider: "+text)
	if wrong && usage.Cause == nil {
		name := "help"
		if usage.Command != "" {
			name += " " + usage.Command
		}
		fmt.Fprintf(c.Stderr, "Try \"postrider %s\".\n", name)
	}
	return exitStatus(err)
}

// maxErrorLine bounds a line of an error, in bytes: nobody reads more.
const maxErrorLine = 2000

// cutLines cuts what is too long in a text of several lines.
func cutLines(text string) string {
	if len(text) <= maxErrorLine {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if len(l) > maxErrorLine {
			lines[i] = strings.ToValidUTF8(l[:maxErrorLine], "") + "…"
		}
	}
	return strings.Join(lines, "\n")
}
