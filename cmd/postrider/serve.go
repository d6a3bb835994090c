package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/engine"
	"postrider/internal/mail"
	"postrider/internal/server"
	"postrider/internal/settings"
	"postrider/internal/terminal"
)

// serve runs the server until it is told to stop.
func (c *call) serve(ctx context.Context) error {
	if err := settings.New().SetFlags(c.opt.set); err != nil {
		return c.refused(err)
	}
	place := datadir.Usual(c.opt.data).Place()
	if err := c.descend(ctx, place); err != nil {
		return err
	}
	dir, lock, err := c.occupy(ctx, place)
	if err != nil {
		return err
	}
	defer lock.Release()
	// From here on a hang-up signal reloads; before the first door opens, so
	// that none can end a server that somebody has already seen.
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	s, err := server.New(ctx, server.Options{
		Dir:           dir,
		Config:        c.opt.config,
		Sets:          c.opt.set,
		AcceptRestore: c.opt.acceptRestore,
		Version:       readVersion().Version,
		Stderr:        c.Stderr,
		Confine:       true,
		Service:       underManager(),
	})
	if err != nil {
		return err
	}
	if err = s.Listen(ctx); err == nil {
		err = s.Start(ctx)
	}
	// Also when a port is in use: the password is told only once.
	if greeted := c.greet(ctx, s, err == nil); err == nil {
		err = greeted
	}
	if err == nil {
		if text := server.RootWarning(); text != "" && !c.JSON {
			fmt.Fprintln(c.Stderr, "postrider: "+text+".")
		}
		server.Notify("READY=1")
		err = c.waitForEnd(ctx, s, hangUp)
	}
	server.Notify("STOPPING=1")
	if stopped := shutdown(s); err == nil {
		err = stopped
	}
	return err
}

// occupy takes the lock of a data directory, which it makes if need be. It
// waits for a command that works there, but not for another server.
func (c *call) occupy(ctx context.Context, place string) (*datadir.Dir, *datadir.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	for {
		dir, lock, err := datadir.MakeLocked(place)
		if mail.KindOf(err) != mail.Locked {
			return dir, lock, err
		}
		if dir, openErr := datadir.Open(place); openErr == nil {
			if conn, dialErr := dir.Dial(ctx); dialErr == nil {
				conn.Close()
				return nil, nil, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, nil, err
		case <-time.After(tryEvery):
		}
	}
}

// makeDir opens a data directory or makes it. What root makes in another
// user's directory is that user's.
func makeDir(place string) (*datadir.Dir, error) {
	dir, made, err := datadir.Make(place)
	if err != nil || !made {
		return dir, err
	}
	if owner := datadir.Owner(dir.Path()); owner != "" {
		err = datadir.Give(dir.Path(), owner)
	}
	return dir, err
}

// descend starts this program again as another user if it is root and shall
// not stay so: as server.user, or else as the directory's owner.
func (c *call) descend(ctx context.Context, place string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	dir, err := datadir.Planned(place)
	if err != nil {
		return err
	}
	cfg := engine.Config{Dir: dir, File: c.opt.config, Set: c.opt.set}
	reg, _, err := engine.Settings(cfg)
	if err != nil {
		return err
	}
	user := reg.Current().String(settings.ServerUser)
	if user == "" {
		user = datadir.Owner(dir.Path())
	}
	if user == "" {
		return nil
	}
	if err := server.KnowsUser(user); err != nil {
		return err // before anything is made
	}
	if dir, err = makeDir(place); err != nil {
		return err
	}
	// Root must not write in another's directory, so it tries no lock.
	if conn, err := dir.Dial(ctx); err == nil {
		conn.Close()
		return mail.Errorf(mail.Locked, "another Postrider works in "+dir.Path())
	}
	// Root must not open the database, but it holds where to listen.
	stored, err := c.storedListeners(ctx, dir)
	if err != nil {
		return err
	}
	set := slices.Concat(stored, c.opt.set, []string{"server.user=" + user})
	if err := reg.SetFlags(set); err != nil {
		return err
	}
	return server.Descend(ctx, reg, dir)
}

// storedListeners asks this program, which becomes the directory's owner, for
// the listen keys that the database holds.
func (c *call) storedListeners(ctx context.Context, dir *datadir.Dir) ([]string, error) {
	if _, err := os.Stat(dir.Database()); err != nil {
		return nil, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"settings", "--json", "--data", dir.Path()}
	if c.opt.config != "" {
		args = append(args, "--config", c.opt.config)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = saidBy(said.Bytes(), err)
		if c.opt.acceptRestore && mail.KindOf(err) == mail.Damaged {
			return nil, nil // the server itself takes in what is missing
		}
		return nil, err
	}
	var list []settings.Explanation
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("read where to listen: %w", err)
	}
	var set []string
	for _, e := range list {
		if strings.HasSuffix(e.Name, ".listen") && e.Source == settings.Database.String() {
			set = append(set, e.Name+"="+e.Value)
		}
	}
	return set, nil
}

// saidBy is the error that another run of this program has written as JSON.
func saidBy(stderr []byte, err error) error {
	var told struct{ Error, Kind string }
	if json.Unmarshal(stderr, &told) != nil || told.Error == "" {
		return fmt.Errorf("read where to listen: %w: %s", err, bytes.TrimSpace(stderr))
	}
	return control.NamedError(told.Kind, told.Error)
}

// waitForEnd returns when the server shall stop. A hang-up signal reloads.
func (c *call) waitForEnd(ctx context.Context, s *server.Server, hangUp <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for {
			select {
			case <-hangUp:
				server.Notify("RELOADING=1")
				if _, err := s.Reload(ctx); err != nil && ctx.Err() == nil {
					fmt.Fprintln(c.Stderr, "postrider: reload: "+err.Error())
				}
				server.Notify("READY=1")
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

	ready bool
}

// greet says that the server is ready, and on a first run what to try next.
// If it is not ready, only the account of the first run is told.
func (c *call) greet(ctx context.Context, s *server.Server, ready bool) error {
	if !ready && s.First() == nil {
		return nil
	}
	status, err := s.Status(ctx)
	if err != nil {
		return err
	}
	g := greeting{DataDirectory: status.DataDirectory, Listeners: status.Listeners, ready: ready}
	if first := s.First(); first != nil {
		g.Account, g.Password = first.Address, first.Password
	}
	return c.Answer(g, func(w io.Writer) { g.print(w) })
}

func (g *greeting) print(w io.Writer) {
	if g.ready {
		fmt.Fprintf(w, "Postrider is running. Its data is in %s.\n\n", g.DataDirectory)
		var rows [][]string
		for _, l := range g.Listeners {
			rows = append(rows, []string{"  " + l.Service, l.Address})
		}
		terminal.Table(w, rows)
	}
	if g.Account == "" {
		return
	}
	fmt.Fprintf(w, "\nThis is the first run. The account %s is made, with this password, which\n"+
		"is shown only now:\n\n    %s\n", g.Account, g.Password)
	if !g.ready {
		return
	}
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
			"    printf 'Subject: hello\\n\\nIt works.\\n' | curl -sS --crlf -T - smtp://%s \\\n"+
			"        --mail-from me@example.org --mail-rcpt %s\n"+
			"    swaks --server %s --port %s --to %s\n", smtp, g.Account, host, port, g.Account)
	}
	if pop != "" {
		fmt.Fprintf(w, "\nRead it:\n\n    curl -sS --user %s:%s pop3://%s/1\n",
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
