package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"postrider/internal/certs"
	"postrider/internal/control"
	"postrider/internal/mail"
	"postrider/internal/terminal"
)

func (c *call) status(ctx context.Context) error {
	dir, server, err := c.server(ctx)
	if err != nil {
		if mail.KindOf(err) == mail.Unreachable && dir != nil && c.JSON {
			s := control.ServerStatus{DataDirectory: dir.Path(), Listeners: []control.Listener{},
				NeedRestart: []string{}, Certificates: []certs.Info{}, Warnings: []string{}}
			terminal.WriteJSON(c.Stdout, s)
		}
		return err
	}
	s, err := control.Status.Call(ctx, server, control.None{}, nil)
	if err != nil {
		return err
	}
	return c.Answer(s, func(w io.Writer) { printStatus(w, &s, time.Now()) })
}

func printStatus(w io.Writer, s *control.ServerStatus, now time.Time) {
	rows := [][]string{
		{"Server", s.Hostname + ", Postrider " + s.Version},
		{"Process", fmt.Sprintf("%d, %s", s.PID, started(s.Service))},
		{"Data", s.DataDirectory},
	}
	if s.Started != nil {
		up := now.Sub(*s.Started).Round(time.Second)
		rows = append(rows, []string{"Running",
			fmt.Sprintf("for %v, since %s", up, terminal.Moment(*s.Started))})
	}
	for _, l := range s.Listeners {
		text := l.Address
		if l.Service != "metrics" { // which has requests, and no sessions
			text += ", " + terminal.Plural(int64(l.Sessions), "session", "sessions")
		}
		rows = append(rows, []string{l.Service, text})
	}
	for i := range s.Certificates {
		rows = append(rows, []string{"Certificate", certificate(&s.Certificates[i])})
	}
	for _, w := range s.Warnings {
		rows = append(rows, []string{"Warning", w})
	}
	if len(s.NeedRestart) > 0 {
		rows = append(rows, []string{"Needs a restart", strings.Join(s.NeedRestart, ", ")})
	}
	terminal.Table(w, rows)
}

func started(service bool) string {
	if service {
		return "as a service"
	}
	return "in the foreground"
}

// certificate tells whose a certificate is, and when it ends.
func certificate(c *certs.Info) string {
	name := c.File
	if len(c.Names) > 0 {
		name = c.Names[0]
	}
	if c.SelfMade {
		name += " (made by the server itself)"
	}
	if c.Days < 0 {
		return name + ", EXPIRED at " + terminal.Moment(c.Ends)
	}
	return fmt.Sprintf("%s, ends in %s, at %s", name, terminal.Plural(int64(c.Days), "day", "days"),
		terminal.Moment(c.Ends))
}

// stopPatience is how long stop waits for the server's end; the server itself
// waits no longer than server.stop_time.
const stopPatience = time.Hour

func (c *call) stop(ctx context.Context) error {
	dir, server, err := c.server(ctx)
	if err != nil {
		return err
	}
	if _, err := control.Stop.Call(ctx, server, control.None{}, nil); err != nil {
		return err
	}
	deadline := time.Now().Add(stopPatience)
	for time.Now().Before(deadline) {
		lock, err := dir.Lock()
		if err == nil {
			lock.Release()
			return c.Say(control.None{}, "The server has stopped.")
		}
		if mail.KindOf(err) != mail.Locked {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(tryEvery):
		}
	}
	return mail.Errorf(mail.Temporary, "the server is still stopping")
}

func (c *call) reload(ctx context.Context) error {
	_, server, err := c.server(ctx)
	if err != nil {
		return err
	}
	r, err := control.Reload.Call(ctx, server, control.None{}, nil)
	if err != nil {
		return err
	}
	return c.Answer(r, func(w io.Writer) {
		fmt.Fprintln(w, "Certificates and settings are read again.")
		for _, note := range r.Notes {
			fmt.Fprintf(w, "Note: %s.\n", note)
		}
	})
}

// A versionInfo tells which program this is.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	System   string `json:"system"`
}

func readVersion() versionInfo {
	v := versionInfo{Version: "unknown", Go: runtime.Version(),
		System: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version = info.Main.Version; v.Version == "" || v.Version == "(devel)" {
		v.Version = "development"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (c *call) version(context.Context) error {
	v := readVersion()
	return c.Answer(v, func(w io.Writer) {
		fmt.Fprintf(w, "postrider %s (%s, %s)\n", v.Version, v.Go, v.System)
		if v.Revision != "" {
			changed := ""
			if v.Modified {
				changed = ", with changes"
			}
			fmt.Fprintf(w, "revision %s%s\n", v.Revision, changed)
		}
	})
}
