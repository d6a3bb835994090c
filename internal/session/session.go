// Package session runs the operations of package control on a data directory,
// whoever has it.
//
// # The lock decides
//
// One lock on the data directory says who works there. If it is free, a
// session takes it, opens the directory and runs the operations in this
// process. If it is held, the session finds the server that holds it and sends
// it the operations. It waits for a server that is starting and for another
// command that works directly, but no longer than its patience.
//
// # The log
//
// What is done without a server is in the log as well: records are kept until
// WriteLog, which opens the log files only if there are any.
//
// # Rights
//
// A session that root opens becomes the owner of the directory first, for good.
package session

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

// tryEvery is how often a server that does not answer yet is tried.
const tryEvery = 50 * time.Millisecond

// Options say where and how to work.
type Options struct {
	Search datadir.Search
	// Patience is how long to wait for a server that is starting, or for
	// another command.
	Patience time.Duration
	// Waiting is called once, when that takes longer than a try; may be nil.
	Waiting func()
	// Config is the settings file, Repair whether the database may be rebuilt,
	// and Progress is told of it; only without a server.
	Config   string
	Repair   bool
	Progress store.Progress
}

// A Session runs operations, in a running server or here. It is for one
// goroutine.
type Session struct {
	control.Caller
	dir    *datadir.Dir
	lock   *datadir.Lock // nil with a running server, as are those below
	engine *engine.Engine
	auth   *auth.Authenticator
	log    *directLog
}

// ErrConfig refuses a settings file where a server runs: it has read its own.
var ErrConfig = mail.Errorf(mail.Conflict, "a server runs here, and it has read its own settings "+
	"file; leave --config out")

// Open begins a session. Kind Unreachable says that there is no data
// directory, or that who holds it does not answer. ErrConfig says that
// Options.Config is of no use.
func Open(ctx context.Context, o Options) (*Session, error) {
	dir, err := o.Find(ctx)
	if err != nil {
		return nil, err
	}
	lock, server, err := o.reach(ctx, dir)
	switch {
	case err != nil:
		return nil, err
	case server != nil && o.Config != "":
		return nil, ErrConfig
	case server != nil:
		return &Session{Caller: server, dir: dir}, nil
	}
	s, err := o.direct(ctx, dir, lock)
	if err != nil {
		lock.Release()
	}
	return s, err
}

// Server finds the running server and its directory. Kind Unreachable says
// that there is none; the directory may be known even so.
func Server(ctx context.Context, o Options) (*datadir.Dir, *control.Client, error) {
	dir, err := o.Find(ctx)
	if err != nil {
		return nil, nil, err
	}
	lock, server, err := o.reach(ctx, dir)
	if err == nil && lock != nil {
		lock.Release()
		err = mail.Errorf(mail.Unreachable, "the server is not running")
	}
	return dir, server, err
}

// WriteLog writes what was done without a server to the log.
func (s *Session) WriteLog(ctx context.Context) error {
	if s.log == nil {
		return nil
	}
	return s.log.write(ctx, s.dir, s.engine.Settings.Current())
}

// Close gives everything back.
func (s *Session) Close() error {
	if s.lock == nil {
		return nil
	}
	defer s.lock.Release()
	s.auth.Close()
	return s.engine.Close()
}

// Find finds the data directory and, as root, becomes its owner. One that a
// server is just making is waited for. Kind Unreachable says that there is none.
func (o Options) Find(ctx context.Context) (*datadir.Dir, error) {
	for deadline := time.Now().Add(o.Patience); ; {
		dir, err := o.Search.Find()
		if err == nil {
			return dir, datadir.Become(dir.Path())
		}
		if !datadir.Nascent(o.Search.Place()) || time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(tryEvery):
		}
	}
}

// reach takes the lock, or finds the server that has it.
func (o Options) reach(ctx context.Context, dir *datadir.Dir) (
	*datadir.Lock, *control.Client, error) {
	within, cancel := context.WithTimeout(ctx, o.Patience)
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
		if !said && o.Waiting != nil {
			said = true
			o.Waiting()
		}
		select {
		case <-within.Done():
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			return nil, nil, mail.Errorf(mail.Unreachable, fmt.Sprintf("another Postrider works in %s "+
				"but does not answer, also after %v; is it still starting?", dir.Path(), o.Patience))
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
	token, err := dir.Token()
	if err != nil {
		return nil, &mail.Error{Kind: mail.Denied, Err: err, Text: "a server runs and cannot be told " +
			"anything; end it with a signal and start it again, which makes a new token"}
	}
	dial := func(ctx context.Context) (net.Conn, error) { return dir.Dial(ctx) }
	server := &control.Client{Dial: dial, Token: token}
	_, err = control.Status.Call(ctx, server, control.None{}, nil)
	return server, err
}

// direct opens the directory here.
func (o Options) direct(ctx context.Context, dir *datadir.Dir, lock *datadir.Lock) (
	*Session, error) {
	e, err := engine.Open(ctx, engine.Config{
		Dir:      dir,
		File:     o.Config,
		Quiet:    true,
		Repair:   o.Repair,
		Progress: o.Progress,
	})
	if err != nil {
		return nil, err
	}
	e.Settings.Guard("tls.", e.TryCertificates)
	a := auth.New(e.Auth())
	log := new(directLog)
	return &Session{Caller: e.Control(a, nil, slog.New(log)), dir: dir, lock: lock, engine: e,
		auth: a, log: log}, nil
}
