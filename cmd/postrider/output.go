package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"postrider/internal/control"
	"postrider/internal/mail"
	"postrider/internal/store"
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
	if _, ok := errors.AsType[*usageError](err); ok {
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
	usage, wrong := errors.AsType[*usageError](err)
	if wrong {
		kind = "usage"
		if usage.cause != nil {
			kind = control.KindName(usage.cause)
		}
	}
	text := cutLines(err.Error())
	if c.opt.json {
		c.writeJSON(c.stderr, struct {
			Error string `json:"error"`
			Kind  string `json:"kind"`
		}{text, kind})
		return exitStatus(err)
	}
	fmt.Fprintln(c.stderr, "postrider: "+text)
	if wrong && usage.cause == nil {
		name := "help"
		if usage.cmd != nil {
			name += " " + usage.cmd.name
		}
		fmt.Fprintf(c.stderr, "Try \"postrider %s\".\n", name)
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

func (c *call) writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// answer prints v with --json, or else what text writes.
func (c *call) answer(v any, text func(w io.Writer)) error {
	if c.opt.json {
		return c.writeJSON(c.stdout, v)
	}
	text(c.stdout)
	return nil
}

// say prints v with --json, or else one sentence.
func (c *call) say(v any, format string, args ...any) error {
	return c.answer(v, func(w io.Writer) { fmt.Fprintf(w, format+"\n", args...) })
}

// table prints rows in columns; the first is the head.
func table(w io.Writer, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	tw.Flush()
}

// size writes bytes as people read them.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	f, u := float64(n), 0
	for f >= 1024 && u < len(units)-1 {
		f /= 1024
		u++
	}
	if u == 0 || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[u])
	}
	return fmt.Sprintf("%.1f %s", f, units[u])
}

// quota writes a limit as people read it.
func quota(n int64) string {
	if n == 0 {
		return "none"
	}
	return size(n)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// moment writes a time as people read it.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// plural writes a number with its noun.
func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

// When progress is printed where nobody watches a terminal.
const progressEvery = 10 * time.Second

// progress tells on standard error how far long work has come: all the time
// on a terminal, else now and then.
func (c *call) progress() (p store.Progress, end func()) {
	if c.opt.quiet {
		return nil, func() {}
	}
	var mu sync.Mutex
	terminal := isTerminal(c.stderr)
	last, width := time.Now(), 0
	p = func(what string, done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		text := fmt.Sprintf("%s: %d", what, done)
		if total > 0 {
			text = fmt.Sprintf("%s: %d of %d (%d %%)", what, done, total, done*100/total)
		}
		now := time.Now()
		switch {
		case terminal && (now.Sub(last) > 100*time.Millisecond || done == total):
			fmt.Fprintf(c.stderr, "\r%-*s", width, text)
			last, width = now, len(text)
		case !terminal && now.Sub(last) > progressEvery:
			fmt.Fprintln(c.stderr, text)
			last = now
		}
	}
	return p, func() {
		mu.Lock()
		defer mu.Unlock()
		if terminal && width > 0 {
			fmt.Fprintf(c.stderr, "\r%*s\r", width, "")
		}
	}
}
