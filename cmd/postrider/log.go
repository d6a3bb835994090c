package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"postrider/internal/datadir"
	"postrider/internal/engine"
	"postrider/internal/journal"
	"postrider/internal/settings"
	"postrider/internal/terminal"
)

// showLog reads the log files of the data directory itself: it needs neither
// the server nor the lock.
func (c *call) showLog(ctx context.Context) error {
	if err := c.checkLog(); err != nil {
		return err
	}
	dir, err := c.dataDir(ctx)
	if err != nil {
		return err
	}
	where := c.logFiles(dir)
	o := journal.ReadOptions{Last: c.opt.lines, Follow: c.opt.follow, Level: c.opt.level,
		Component: c.opt.component}
	if c.opt.all {
		o.Last = -1
	}
	out := bufio.NewWriter(c.Stdout)
	err = journal.Follow(ctx, where, o, func(line []byte) error {
		if err := c.printRecord(out, line); err != nil || !c.opt.follow {
			return err
		}
		return out.Flush()
	})
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	if errors.Is(err, context.Canceled) && c.opt.follow {
		return nil // the usual way to end it
	}
	return err
}

// logFiles is the directory of the log files. Who reads the log looks for what
// is wrong: that may be the settings, so they keep nobody from it.
func (c *call) logFiles(dir *datadir.Dir) string {
	reg, _, err := engine.Settings(engine.Config{Dir: dir, File: c.opt.config})
	if err != nil {
		reg = settings.New()
		fmt.Fprintf(c.Stderr, "postrider: %v\nThe settings are wrong, so this is the log where it is "+
			"by default.\n", err)
	}
	v := reg.Current()
	switch v.String(settings.LogTarget) {
	case "journald":
		fmt.Fprintln(c.Stderr, "The server logs to the systemd journal (journalctl -t postrider); this "+
			"is what the log files have from before.")
	case "stderr":
		fmt.Fprintln(c.Stderr, "The server logs to its standard error; this is what the log files have "+
			"from before.")
	}
	return dir.Resolve(v.String(settings.LogDirectory))
}

// checkLog refuses wrong values of the flags of log.
func (c *call) checkLog() error {
	names := settings.LogComponents()
	switch {
	case c.opt.lines < 0:
		return c.usage("log: --lines %d: want a number from 0 on", c.opt.lines)
	case c.line.Given["level"] && (c.opt.level < 1 || c.opt.level > 5):
		return c.usage("log: --level %d: want a level from 1 to 5", c.opt.level)
	case c.line.Given["component"] && !slices.Contains(names, c.opt.component):
		return c.usage("log: nothing logs as %q; there are "+strings.Join(names, ", "),
			c.opt.component)
	}
	return nil
}

// A logRecord is a record of the text form as JSON shows it.
type logRecord struct {
	Time      string `json:"time"`
	Level     int    `json:"level"`
	Component string `json:"component"`
	Text      string `json:"text"`
}

// printRecord prints one line of the log. With --json a record that is text
// becomes an object; what is no record has only its text.
func (c *call) printRecord(w io.Writer, line []byte) error {
	if !c.JSON || bytes.HasPrefix(line, []byte("{")) {
		_, err := fmt.Fprintf(w, "%s\n", line)
		return err
	}
	r := logRecord{Text: string(line)}
	if parts := strings.SplitN(r.Text, " ", 4); len(parts) == 4 {
		if level, err := strconv.Atoi(parts[1]); err == nil {
			r = logRecord{parts[0], level, parts[2], parts[3]}
		}
	}
	return terminal.WriteJSON(w, r)
}
