package control

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// Limits of the socket.
const (
	maxSessions  = 32               // at a time; more wait
	maxStrangers = 512              // who have not shown the token or wait; more are not heard
	tokenTime    = 5 * time.Second  // for the token to come
	requestTime  = time.Minute      // for the request to come
	writeTime    = 30 * time.Second // for the client to take a line
	progressTime = 100 * time.Millisecond
)

// Serve runs operations for those who know the token, until ctx ends; then
// it closes the listener, gives up what is under way and returns when all of
// it has ended. The error is nil after ctx has ended.
func Serve(ctx context.Context, ln net.Listener, token string, c *Control) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	p := &places{strangers: make(chan struct{}, maxStrangers), sessions: make(chan struct{}, maxSessions)}
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				cancel()
				return err
			}
			c.log.WarnContext(ctx, "control socket", "error", err)
			select { // out of file descriptors, most likely
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		select {
		case p.strangers <- struct{}{}:
		case <-ctx.Done():
			conn.Close()
			return nil
		}
		sessions.Go(func() {
			defer conn.Close()
			s := &session{conn: conn, control: c}
			s.serve(ctx, token, p)
		})
	}
}

// places bound who is served. Who has not shown the token has one of its own,
// so that silent clients keep nobody waiting.
type places struct {
	strangers, sessions chan struct{}
}

// enter takes a session's place for a stranger who has shown the token.
func (p *places) enter(ctx context.Context) error {
	select {
	case p.sessions <- struct{}{}:
		return nil
	case <-ctx.Done():
		return mail.Errorf(mail.Unreachable, "the server is stopping")
	}
}

// A session is one connection to the control socket.
type session struct {
	conn    net.Conn
	control *Control
}

func (s *session) serve(ctx context.Context, token string, p *places) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A stopping server wakes those who wait for a request.
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	r := bufio.NewReader(s.conn)
	err := s.identify(ctx, r, token)
	if err == nil {
		err = p.enter(ctx)
	}
	if err != nil {
		s.write(frame{Error: failureOf(err)})
		<-p.strangers
		return
	}
	<-p.strangers
	defer func() { <-p.sessions }()
	q, err := s.read(ctx, r)
	if err != nil {
		s.write(frame{Error: failureOf(err)})
		return
	}
	var watch sync.WaitGroup
	defer watch.Wait()
	defer s.conn.SetReadDeadline(time.Unix(1, 0))
	s.conn.SetReadDeadline(time.Time{})
	watch.Go(func() {
		r.ReadByte() // returns when the client goes away, or at the end
		cancel()
	})
	reply, err := s.control.dispatch(ctx, q.Operation, q.Request, s.progress())
	if err != nil {
		s.write(frame{Error: failureOf(err)})
		return
	}
	s.write(frame{Reply: reply})
}

// identify wants the token.
func (s *session) identify(ctx context.Context, r *bufio.Reader, token string) error {
	s.wait(ctx, tokenTime)
	shown, err := readLine(r, maxToken)
	if err != nil {
		return &mail.Error{Kind: mail.Denied, Text: "no token came", Err: err}
	}
	// Digests have one length, so not even that of the token shows.
	a, b := sha256.Sum256(shown), sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
		s.control.log.Error("control socket: wrong token")
		// What is left unread would reset the connection, and with it the answer.
		s.wait(ctx, tokenTime)
		readLine(r, maxRequest)
		return mail.Errorf(mail.Denied, "the server refuses the control token: it started with "+
			"another one than control.token has now; end it with a signal and start it again")
	}
	return nil
}

// read takes the request of a client that has shown the token.
func (s *session) read(ctx context.Context, r *bufio.Reader) (*call, error) {
	s.wait(ctx, requestTime)
	line, err := readLine(r, maxRequest)
	if err != nil {
		return nil, &mail.Error{Kind: mail.Invalid, Text: "no request came", Err: err}
	}
	q := new(call)
	if err := json.Unmarshal(line, q); err != nil {
		return nil, &mail.Error{Kind: mail.Invalid, Text: "the request is no JSON object", Err: err}
	}
	return q, nil
}

// wait gives the client some time, unless the server stops: then what wakes
// its readers may have come before.
func (s *session) wait(ctx context.Context, d time.Duration) {
	s.conn.SetReadDeadline(time.Now().Add(d))
	if ctx.Err() != nil {
		s.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// progress sends what an operation tells, not more often than people can see.
func (s *session) progress() store.Progress {
	var last time.Time
	var what string
	var mu sync.Mutex
	return func(w string, done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if w == what && now.Sub(last) < progressTime && done != total {
			return
		}
		last, what = now, w
		s.write(frame{Progress: &progress{What: w, Done: done, Total: total}})
	}
}

func (s *session) write(f frame) {
	line, err := json.Marshal(f)
	if err != nil {
		s.control.log.Error("control socket", "error", err)
		return
	}
	s.conn.SetWriteDeadline(time.Now().Add(writeTime))
	s.conn.Write(append(line, '\n'))
}
