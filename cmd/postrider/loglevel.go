package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"postrider/internal/control"
	"postrider/internal/journal"
	"postrider/internal/terminal"
)

// settingsLevel is the word for the level that the settings give.
const settingsLevel = "settings"

// logLevel shows the levels of the running server, or changes one.
func (c *call) logLevel(ctx context.Context) error {
	q, err := c.logLevelRequest()
	if err != nil {
		return err
	}
	_, server, err := c.server(ctx)
	if err != nil {
		return err
	}
	var r control.LogLevelsReply
	if len(c.line.Args) == 0 {
		r, err = control.LogLevels.Call(ctx, server, control.None{}, nil)
	} else {
		r, err = control.LogLevelSet.Call(ctx, server, q, nil)
	}
	if err != nil {
		return err
	}
	return c.Answer(r.Components, func(w io.Writer) { printLevels(w, r.Components) })
}

// logLevelRequest reads "[COMPONENT] LEVEL" and --for.
func (c *call) logLevelRequest() (q control.LogLevelRequest, err error) {
	if len(c.line.Args) == 0 {
		if c.line.Given["for"] {
			return q, c.usage("log level: --for needs a level")
		}
		return q, nil
	}
	level := c.line.Args[len(c.line.Args)-1]
	if len(c.line.Args) == 2 {
		q.Component = c.line.Args[0]
	}
	if level != settingsLevel {
		q.Level, err = strconv.Atoi(level)
		if err != nil || q.Level < 1 || q.Level > 5 {
			return q, c.usage("log level: %q: want a level from 1 to 5, or %q for that of the settings",
				level, settingsLevel)
		}
	}
	if !c.line.Given["for"] {
		return q, nil
	}
	d, ok := terminal.ParseAge(c.opt.during)
	if !ok || d < time.Second {
		return q, c.usage("log level: --for %s: want a time such as 10m, 1h or 2d", c.opt.during)
	}
	if q.Level == 0 {
		return q, c.usage("log level: the level of the settings has no end; leave --for out")
	}
	q.ForSeconds = int64(d / time.Second)
	return q, nil
}

func printLevels(w io.Writer, list []journal.ComponentLevel) {
	rows := [][]string{{"COMPONENT", "LEVEL", "SHOWS UP TO", "UNTIL"}}
	for _, l := range list {
		until := "-"
		switch {
		case l.Changed && l.Until.IsZero():
			until = fmt.Sprintf("the server ends, then %d", l.Settings)
		case l.Changed:
			until = fmt.Sprintf("%s, then %d", terminal.Moment(l.Until), l.Settings)
		}
		rows = append(rows, []string{l.Component, strconv.Itoa(l.Level), journal.LevelName(l.Level),
			until})
	}
	terminal.Table(w, rows)
}
