package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/session"
)

// How long a command waits for a server that holds the lock but does not
// answer yet, and how often one looks whether the lock is free.
const (
	startingTime = 10 * time.Second
	tryEvery     = 50 * time.Millisecond
)

// session says where the operations of this command run.
func (c *call) session() session.Options {
	o := session.Options{
		Search:   datadir.Usual(c.opt.data),
		Patience: c.patience,
		Config:   c.opt.config,
		Repair:   c.opt.repair,
	}
	if c.Watched() && !c.Quiet {
		o.Waiting = func() { fmt.Fprintln(c.Stderr, "Waiting for the server to answer…") }
	}
	return o
}

// with runs f with what runs operations: a running server, or this process.
func (c *call) with(ctx context.Context, f func(control.Caller) error) error {
	o := c.session()
	show, end := c.Progress()
	o.Progress = show
	s, err := session.Open(ctx, o)
	end()
	switch {
	case errors.Is(err, session.ErrConfig):
		return c.usage("%s: %s", c.line.Command.Name, err.Error())
	case err != nil:
		return err
	}
	err = c.refused(f(s))
	if failed := s.WriteLog(ctx); failed != nil {
		fmt.Fprintf(c.Stderr, "postrider: the log could not be written: %v\n", failed)
	}
	if closed := s.Close(); err == nil {
		err = closed
	}
	return err
}

// dataDir finds the data directory and, as root, becomes its owner.
func (c *call) dataDir(ctx context.Context) (*datadir.Dir, error) { return c.session().Find(ctx) }

// server finds the running server; kind Unreachable if there is none.
func (c *call) server(ctx context.Context) (*datadir.Dir, *control.Client, error) {
	return session.Server(ctx, c.session())
}

// do runs one operation and prints its reply, in words or as JSON.
func do[Q, R any](ctx context.Context, c *call, op control.Op[Q, R], q Q,
	words func(w io.Writer, r *R)) error {
	return c.with(ctx, func(via control.Caller) error {
		r, err := op.Call(ctx, via, q, nil)
		if err != nil {
			return err
		}
		return c.Answer(r, func(w io.Writer) { words(w, &r) })
	})
}
