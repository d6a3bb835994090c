package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postrider/internal/journal"
	"postrider/internal/mail"
)

// LogLevelsReply lists what is logged of each component of the running
// server, by name.
type LogLevelsReply struct {
	Components []journal.ComponentLevel `json:"components"`
}

func (c *Control) logLevels(context.Context, None) (LogLevelsReply, error) {
	if c.host == nil {
		return LogLevelsReply{}, errNotRunning
	}
	return LogLevelsReply{Components: c.host.LogLevels()}, nil
}

// LogLevelRequest changes how much the running server logs. The settings stay
// as they are.
type LogLevelRequest struct {
	Component string `json:"component,omitempty"` // empty is all
	Level     int    `json:"level"`               // 1 to 5; 0 is that of the settings again
	// ForSeconds is when the change ends by itself; 0 is with the server.
	ForSeconds int64 `json:"for_seconds,omitempty"`
}

func (q LogLevelRequest) subject() string {
	s := "all"
	if q.Component != "" {
		s = q.Component
	}
	s += fmt.Sprintf(" level %d", q.Level)
	if q.ForSeconds > 0 {
		s += " for " + (time.Duration(q.ForSeconds) * time.Second).String()
	}
	return s
}

// maxLogLevelTime bounds how long a level may be set for.
const maxLogLevelTime = 366 * 24 * time.Hour

func (c *Control) logLevelSet(_ context.Context, q LogLevelRequest) (LogLevelsReply, error) {
	var none LogLevelsReply
	if c.host == nil {
		return none, errNotRunning
	}
	if q.ForSeconds < 0 || q.ForSeconds > int64(maxLogLevelTime/time.Second) {
		return none, mail.Errorf(mail.Invalid, "a log level can be set for up to 366 days")
	}
	if q.Component != "" {
		var names []string
		for _, l := range c.host.LogLevels() {
			names = append(names, l.Component)
		}
		if !slices.Contains(names, q.Component) {
			return none, mail.Errorf(mail.NotFound, fmt.Sprintf("nothing logs as %q; there are %s",
				Short(q.Component), strings.Join(names, ", ")))
		}
	}
	var until time.Time
	if q.ForSeconds > 0 {
		until = c.now().Add(time.Duration(q.ForSeconds) * time.Second)
	}
	if err := c.host.SetLogLevel(q.Component, q.Level, until); err != nil {
		return none, err
	}
	return LogLevelsReply{Components: c.host.LogLevels()}, nil
}
