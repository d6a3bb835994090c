package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"postrider/internal/auth"
	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/engine"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// How long a command waits for a server that holds the lock but does not
// answer yet, and how often it tries.
const (
	startingTime = 10 * time.Second
	tryEvery     = 50 * time.Millisecond
)

// A session runs operations: in a running server, or here.
type session struct {
	control.Caller
	dir    *datadir.Dir
	lock   *datadir.Lock // nil with a running server
	engine *engine.Engine
	auth   *auth.Authenticator
	log    *directLog // nil with a running server
}

// close gives everything back.
func (s *session) close() error {
	if s.lock == nil {
		return nil
	}
	defer s.lock.Release()
	s.auth.Close()
	return s.engine.Close()
}

// with runs f with a session.
func (c *call) with(ctx context.Context, f func(*session) error) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	err = c.refused(f(s))
	if s.log != nil {
		if failed := s.log.write(ctx, s.dir, s.engine.Settings.Current()); failed != nil {
			fmt.Fprintf(c.Stderr, "postrider: the log could not be written: %v\n", failed)
		}
	}
	if closed := s.close(); err == nil {
		err = closed
	}
	return err
}

// connect decides by the lock of the data directory: if a server holds it,
// the operations run there; else they run here, under the lock.
func (c *call) connect(ctx context.Context) (*session, error) {
	dir, err := c.dataDir(ctx)
	if err != nil {
		return nil, err
	}
	lock, server, err := c.reach(ctx, dir)
	switch {
	case err != nil:
		return nil, err
	case server != nil:
		return &session{Caller: server, dir: dir}, nil
	}
	s, err := c.direct(ctx, dir, lock)
	if err != nil {
		lock.Release()
	}
	return s, err
}

// dataDir finds the data directory and, as root, becomes its owner. One that
// a server is just making is waited for.
func (c *call) dataDir(ctx context.Context) (*datadir.Dir, error) {
	search := datadir.Usual(c.opt.data)
	for deadline := time.Now().Add(c.patience); ; {
		dir, err := search.Find()
		if err == nil {
			return dir, datadir.Become(dir.Path())
		}
		if !datadir.Nascent(search.Place()) || time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(tryEvery):
		}
	}
}

// reach takes the lock, or finds the server that has it. It waits for one
// that is starting, and for another command that works directly.
func (c *call) reach(ctx context.Context, dir *datadir.Dir) (
	*datadir.Lock, *control.Client, error) {
	within, cancel := context.WithTimeout(ctx, startingTime)
	defer cancel()
	for said := false; ; {
		lock, err := dir.Lock()
		if err == nil {
			return lock, nil, nil
		}
		if mail.KindOf(err) != mail.Locked {
			return nil, nil, err
		}
		server, err := answering(within, dir)
		if err == nil || mail.KindOf(err) == mail.Denied {
			return nil, server, err
		}
		if !said && c.Watched() && !c.Quiet {
			said = true
			fmt.Fprintln(c.Stderr, "Waiting for the server to answer…")
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-within.Done():
			return nil, nil, mail.Errorf(mail.Unreachable, fmt.Sprintf("another Postrider works in %s "+
				"but does not answer, also after %v; is it still starting?", dir.Path(), startingTime))
		case <-time.After(tryEvery):
		}
	}
}

// answering gives the server of a directory, once it answers: a server that
// hangs has a socket too.
func answering(ctx context.Context, dir *datadir.Dir) (*control.Client, error) {
	conn, err := dir.Dial(ctx)
	if err != nil {
		return nil, err
	}
	conn.Close()
	server, err := client(dir)
	if err != nil {
		return nil, err
	}
	_, err = control.Status.Call(ctx, server, control.None{}, nil)
	return server, err
}

func client(dir *datadir.Dir) (*control.Client, error) {
	token, err := dir.Token()
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context) (net.Conn, error) { return dir.Dial(ctx) }
	return &control.Client{Dial: dial, Token: token}, nil
}

// direct opens the directory here.
func (c *call) direct(ctx context.Context, dir *datadir.Dir, lock *datadir.Lock) (
	*session, error) {
	p, end := c.Progress()
	defer end()
	e, err := engine.Open(ctx, engine.Config{
		Dir:      dir,
		File:     c.opt.config,
		Quiet:    true,
		Repair:   c.opt.repair,
		Progress: store.Progress(p),
	})
	if err != nil {
		return nil, err
	}
	e.Settings.Guard("tls.", e.TryCertificates)
	a := auth.New(e.Auth())
	log := new(directLog)
	return &session{Caller: e.Control(a, nil, slog.New(log)), dir: dir, lock: lock, engine: e,
		auth: a, log: log}, nil
}

// server finds the running server; kind Unreachable if there is none.
func (c *call) server(ctx context.Context) (*datadir.Dir, *control.Client, error) {
	dir, err := c.dataDir(ctx)
	if err != nil {
		return nil, nil, err
	}
	lock, server, err := c.reach(ctx, dir)
	if err == nil && lock != nil {
		lock.Release()
		err = mail.Errorf(mail.Unreachable, "the server is not running")
	}
	return dir, server, err
}
