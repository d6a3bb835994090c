package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/internal/golden"
	"postrider/internal/link"
	"postrider/internal/wire/smtp"
)

// The transcripts in testdata. Their setup lines:
//
//	mode smtp|submission|lmtp     tls none|starttls|implicit
//	auth none|tls|always          queue yes
//	limit NAME VALUE              a field of Limits
//	time NAME DURATION            a time of link.Limits
//
// and their do lines:
//
//	body "…"      the message accepted last has exactly these bytes
//	message …     its summary: with, helo, return path, user, recipients
//	params …      its parameters
//	count N       that many messages were accepted
//	aborted N     and so many transactions given up
//	refused TEXT  what the hall was told of refusals that are the door's own
//	log-lacks S   no log record holds S
//	limit NAME VALUE   changes a limit of the running server
//	shutdown      the server begins to stop
func TestTranscripts(t *testing.T) {
	golden.Run(t, "testdata/*.txt", func(t *testing.T, setup golden.Setup) golden.Server {
		b := newBench(t, setup)
		return golden.Server{Address: b.start(t), Do: b.do}
	})
}

// A bench is a server on trial.
type bench struct {
	hall   *fakeHall
	srv    *Server
	link   link.Config
	limits link.Limits
	own    Limits
	log    logText
	stop   func() // begins a shutdown and does not wait for its end
}

// logText keeps log records.
type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newBench(t testing.TB, setup golden.Setup) *bench {
	t.Helper()
	b := &bench{hall: &fakeHall{}, own: DefaultLimits()}
	b.limits = link.Limits{
		Line: smtp.MaxLine, LineTime: time.Minute, ReadTime: time.Minute,
		WriteTime: time.Minute, Handshake: time.Minute,
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cfg := Config{
		Hostname: "mx.example.org", Hall: b.hall, Auth: fakeAuth{},
		Now: func() time.Time { return now },
		Log: slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	b.link = link.Config{Limits: func() link.Limits { return b.limits }, Log: cfg.Log}
	for _, s := range setup {
		if err := b.set(t, &cfg, s); err != nil {
			t.Fatalf("line %d: %v", s.Line, err)
		}
	}
	cfg.Limits = b.own
	b.srv = New(cfg)
	b.link.Name, b.link.Handler, b.link.Refuse = cfg.Mode.String(), b.srv, b.srv.Refuse
	return b
}

func (b *bench) set(t testing.TB, cfg *Config, s golden.Setting) error {
	switch s.Key + " " + s.Value {
	case "mode smtp":
	case "mode submission":
		cfg.Mode = Submission
	case "mode lmtp":
		cfg.Mode = LMTP
	case "tls starttls", "tls implicit":
		b.link.TLS = func() *tls.Config { return mustTLS(t) }
		b.link.Implicit = s.Value == "implicit"
	case "auth none":
		cfg.Auth = nil
	case "auth always":
		cfg.Auth = fakeAuth{plaintext: true}
	case "queue yes":
		cfg.Queue = true
	default:
		words := strings.Fields(s.Value)
		if len(words) != 2 {
			return errors.New("unknown setup")
		}
		if s.Key == "time" {
			return b.setTime(words[0], words[1])
		}
		return b.setLimit(words[0], words[1])
	}
	return nil
}

func (b *bench) setTime(name, value string) error {
	d, err := time.ParseDuration(value)
	switch name {
	case "line":
		b.limits.LineTime = d
	case "read":
		b.limits.ReadTime = d
	case "session":
		b.limits.Session = d
	default:
		return errors.New("no such time")
	}
	return err
}

func (b *bench) setLimit(name, value string) error {
	n, err := strconv.Atoi(value)
	fields := map[string]*int{
		"recipients": &b.own.Recipients, "messages": &b.own.Messages, "commands": &b.own.Commands,
		"errors": &b.own.Errors, "unknown": &b.own.Unknown, "attempts": &b.own.AuthAttempts,
		"user": &b.own.SessionsPerUser, "sessions": &b.limits.Sessions,
		"address": &b.limits.PerAddress,
	}
	switch field := fields[name]; {
	case field != nil:
		*field = n
	case name == "size":
		b.own.MessageSize = int64(n)
	default:
		return errors.New("no such limit")
	}
	return err
}

// start serves on loopback until the test ends.
func (b *bench) start(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := link.New(b.link)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(context.Background(), ln)
	}()
	stopped := make(chan error, 1)
	b.stop = sync.OnceFunc(func() {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			stopped <- server.Shutdown(ctx)
		}()
	})
	t.Cleanup(func() {
		b.stop()
		if err := <-stopped; err != nil {
			t.Errorf("shutdown: %v", err)
		}
		<-done
		if n := server.Stats().Panics; n > 0 {
			t.Errorf("got %d panics:\n%s", n, b.log.String())
		}
	})
	return ln.Addr().String()
}

func (b *bench) do(words []string) error {
	rest := strings.Join(words[1:], " ")
	accepted, aborted := b.hall.counts()
	got := ""
	m := b.hall.last()
	switch words[0] {
	case "limit":
		if err := b.setLimit(words[1], words[2]); err != nil {
			return err
		}
		b.srv.SetLimits(b.own)
		return nil
	case "shutdown":
		b.stop()
		return nil
	case "log-lacks":
		if strings.Contains(b.log.String(), rest) {
			return fmt.Errorf("the log holds %q:\n%s", rest, b.log.String())
		}
		return nil
	case "count":
		got = strconv.Itoa(accepted)
	case "refused":
		got = b.hall.refusals()
	case "aborted":
		got = strconv.Itoa(aborted)
	default:
		if m == nil {
			return errors.New("no message was accepted")
		}
	}
	switch words[0] {
	case "body":
		got, rest = m.body.String(), words[1]
	case "message":
		got = m.String()
	case "params":
		got = m.describe()
	}
	if got != rest {
		return fmt.Errorf("got  %q\nwant %q", got, rest)
	}
	return nil
}
