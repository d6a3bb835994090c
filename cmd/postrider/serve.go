package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/server"
	"postrider/internal/settings"
)

// serve runs the server until it is told to stop.
func serve(ctx ctx, c *call) error {
	dir, _, err := datadir.Make(datadir.Usual(c.opt.data).Place())
	if err != nil {
		return err
	}
	lock, err := dir.Lock()
	if err != nil {
		return err
	}
	defer lock.Release()
	s, err := server.New(ctx, server.Options{
		Dir:           dir,
		Config:        c.opt.config,
		Sets:          c.opt.set,
		AcceptRestore: c.opt.acceptRestore,
		Version:       readVersion().Version,
		Stderr:        c.stderr,
	})
	if err != nil {
		return err
	}
	if err = s.Listen(); err == nil {
		err = s.Start(ctx)
	}
	if err == nil {
		err = c.greet(ctx, s)
	}
	if err == nil {
		err = c.waitForEnd(ctx, s)
	}
	if stopped := shutdown(s); err == nil {
		err = stopped
	}
	return err
}

// waitForEnd returns when the server shall stop. A hang-up signal reloads.
func (c *call) waitForEnd(ctx ctx, s *server.Server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	go func() {
		for {
			select {
			case <-hangUp:
				if _, err := s.Reload(ctx); err != nil && ctx.Err() == nil {
					fmt.Fprintln(c.stderr, "postrider: reload: "+err.Error())
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return s.Wait(ctx)
}

// shutdown stops the server within its time; a further signal makes it hurry.
func shutdown(s *server.Server) error {
	patience := s.Settings.Current().Duration(settings.ServerStopTime)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	hurry := make(chan os.Signal, 1)
	signal.Notify(hurry, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(hurry)
	go func() {
		select {
		case <-hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
	return s.Shutdown(ctx)
}

// A greeting is what serve prints when it is ready.
type greeting struct {
	DataDirectory string             `json:"data_directory"`
	Listeners     []control.Listener `json:"listeners"`
	// Account and Password are those that a first run has made.
	Account  string `json:"account,omitempty"`
	Password string `json:"password,omitempty"`
}

// greet says that the server is ready, and on a first run what to try next.
func (c *call) greet(ctx ctx, s *server.Server) error {
	status, err := s.Status(ctx)
	if err != nil {
		return err
	}
	g := greeting{DataDirectory: status.DataDirectory, Listeners: status.Listeners}
	if first := s.First(); first != nil {
		g.Account, g.Password = first.Address, first.Password
	}
	return c.answer(g, func(w io.Writer) { g.print(w) })
}

func (g *greeting) print(w io.Writer) {
	fmt.Fprintf(w, "Postrider is running. Its data is in %s.\n\n", g.DataDirectory)
	var rows [][]string
	for _, l := range g.Listeners {
		rows = append(rows, []string{"  " + l.Service, l.Address})
	}
	table(w, rows)
	if g.Account == "" {
		return
	}
	fmt.Fprintf(w, "\nThis is the first run. The account %s is made, with this password, which\n"+
		"is shown only now:\n\n    %s\n", g.Account, g.Password)
	g.suggest(w)
	fmt.Fprint(w, "\nMake it the server of a domain:  postrider setup example.org\n"+
		"Stop it:                         Ctrl-C\n")
}

// suggest prints lines that are ready to be tried.
func (g *greeting) suggest(w io.Writer) {
	smtp, pop := g.address("smtp"), g.address("pop")
	if smtp != "" {
		host, port, _ := net.SplitHostPort(smtp)
		fmt.Fprintf(w, "\nSend it a message, with curl or with swaks:\n\n"+
			"    printf 'Subject: hello\\n\\nIt works.\\n' | curl --crlf -T - smtp://%s \\\n"+
			"        --mail-from me@example.org --mail-rcpt %s\n"+
			"    swaks --server %s --port %s --to %s\n", smtp, g.Account, host, port, g.Account)
	}
	if pop != "" {
		fmt.Fprintf(w, "\nRead it:\n\n    curl --user %s:%s pop3://%s/1\n",
			g.Account, g.Password, pop)
	}
}

// address is where a service listens, if that is a port.
func (g *greeting) address(service string) string {
	for _, l := range g.Listeners {
		if l.Service == service && !strings.HasPrefix(l.Address, "unix:") {
			return l.Address
		}
	}
	return ""
}
