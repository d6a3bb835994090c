package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/mail"
)

// patience is how long anything may take that should be quick.
const patience = 10 * time.Second

// everyDoor opens all doors on ports that are free.
var everyDoor = []string{"smtp.listen=127.0.0.1:0", "submission.listen=127.0.0.1:0",
	"submissions.listen=127.0.0.1:0", "pop.listen=127.0.0.1:0", "pops.listen=127.0.0.1:0"}

// A fixture is a running server with what its log says.
type fixture struct {
	*Server
	t    testing.TB
	dir  *datadir.Dir
	lock *datadir.Lock
	log  *buffer
	stop sync.Once
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs a server on a directory until the test ends.
func start(t testing.TB, path string, sets ...string) *fixture {
	t.Helper()
	f, err := tryStart(t, path, sets...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func tryStart(t testing.TB, path string, sets ...string) (*fixture, error) {
	t.Helper()
	dir, _, err := datadir.Make(path)
	if err != nil {
		return nil, err
	}
	lock, err := dir.Lock()
	if err != nil {
		return nil, err
	}
	f := &fixture{t: t, dir: dir, lock: lock, log: new(buffer)}
	sets = append([]string{"server.hostname=mx.test", "log.target=stderr", "log.level=4",
		"auth.scram_rounds=20000", "server.stop_time=5s"}, sets...)
	f.Server, err = New(t.Context(), Options{Dir: dir, Sets: sets, Version: "1.2.3", Stderr: f.log})
	if err != nil {
		lock.Release()
		return nil, err
	}
	if err = f.Listen(t.Context()); err == nil {
		err = f.Start(t.Context())
	}
	if err != nil {
		f.shutdown()
		return nil, err
	}
	t.Cleanup(f.shutdown)
	return f, nil
}

// shutdown stops the server and proves that its store is sound.
func (f *fixture) shutdown() {
	f.stop.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		problems, err := f.Store.Check(ctx, false, nil)
		if err != nil || len(problems) > 0 {
			f.t.Errorf("check: %v %v", problems, err)
		}
		if err := f.Shutdown(ctx); err != nil {
			f.t.Error("shutdown:", err)
		}
		if err := f.lock.Release(); err != nil {
			f.t.Error(err)
		}
	})
}

// address is where a service listens.
func (f *fixture) address(service string) string {
	f.t.Helper()
	st, err := f.Status(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, l := range st.Listeners {
		if l.Service == service {
			return l.Address
		}
	}
	f.t.Fatalf("%s does not listen: %+v", service, st.Listeners)
	return ""
}

// call runs an operation through the control socket.
func (f *fixture) call(name string, request, reply any) error {
	f.t.Helper()
	token, err := f.dir.Token()
	if err != nil {
		f.t.Fatal(err)
	}
	c := &control.Client{Dial: f.dir.Dial, Token: token}
	return c.Call(context.Background(), name, request, reply, nil)
}

// A client speaks a line protocol.
type client struct {
	t    testing.TB
	conn net.Conn
	text *textproto.Reader
}

func dial(t testing.TB, address string) *client {
	t.Helper()
	network := "tcp"
	if path, ok := unixPath(address); ok {
		network, address = "unix", path
	}
	conn, err := net.DialTimeout(network, address, patience)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

func newClient(t testing.TB, conn net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t, conn, textproto.NewReader(bufio.NewReader(conn))}
}

// trust takes any certificate.
var trust = &tls.Config{InsecureSkipVerify: true}

// secure goes on with TLS.
func (c *client) secure() *client {
	c.t.Helper()
	conn := tls.Client(c.conn, trust)
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	return newClient(c.t, conn)
}

func (c *client) send(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, line+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads a reply of SMTP, all its lines, or one line of POP3.
func (c *client) hear() string {
	c.t.Helper()
	all := ""
	for {
		line, err := c.text.ReadLine()
		if err != nil {
			c.t.Fatalf("after %q: %v", all, err)
		}
		all += line
		if len(line) < 4 || line[3] != '-' || line[0] < '0' || line[0] > '9' {
			return all
		}
		all += "\n"
	}
}

// want says a line, unless it is empty, and expects an answer that begins so.
func (c *client) want(line, answer string) string {
	c.t.Helper()
	if line != "" {
		c.send(line)
	}
	got := c.hear()
	if !strings.HasPrefix(got, answer) {
		c.t.Fatalf("%s: got %q, want %q", line, got, answer)
	}
	return got
}

// deliver sends a message of a stranger by SMTP.
func (c *client) deliver(to, text string) {
	c.t.Helper()
	c.want("MAIL FROM:<x@example.net>", "250")
	c.want("RCPT TO:<"+to+">", "250")
	c.want("DATA", "354")
	c.want(text+"\r\n.", "250 2.0.0 accepted as ")
}

// read logs in by POP3 and gives the last message.
func (c *client) read(user, password string) string {
	c.t.Helper()
	c.want("USER "+user, "+OK")
	c.want("PASS "+password, "+OK")
	var n, size int
	if _, err := fmt.Sscanf(c.want("STAT", "+OK"), "+OK %d %d", &n, &size); err != nil {
		c.t.Fatal(err)
	}
	c.want(fmt.Sprint("RETR ", n), "+OK")
	b, err := c.text.ReadDotBytes()
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// A first run makes everything that is needed to send and read a message,
// over TLS or without.
func TestFirstRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	f := start(t, path, everyDoor...)
	first := f.First()
	if first == nil || first.Address != "postmaster@localhost" || len(first.Password) < 12 {
		t.Fatalf("got %+v", first)
	}
	smtp := dial(t, f.address("smtp"))
	smtp.want("", "220 mx.test ESMTP")
	smtp.want("EHLO client.test", "250")
	smtp.deliver("postmaster", "Subject: one\r\n\r\nHello")

	smtp.want("STARTTLS", "220")
	smtp = smtp.secure()
	smtp.want("EHLO client.test", "250")
	smtp.deliver("postmaster@localhost", "Subject: two\r\n\r\nHello")
	smtp.want("QUIT", "221")

	pop := dial(t, f.address("pop"))
	pop.want("", "+OK")
	pop.want("STLS", "+OK")
	pop = pop.secure()
	got := pop.read(first.Address, first.Password)
	for _, want := range []string{"Return-Path: <x@example.net>", "by mx.test with ESMTPS id",
		"Subject: two\n\nHello\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the message lacks %q:\n%s", want, got)
		}
	}
	pop.want("QUIT", "+OK")

	pops := newClient(t, dial(t, f.address("pops")).conn).secure()
	pops.want("", "+OK")
	pops.read(first.Address, first.Password)
	submissions := newClient(t, dial(t, f.address("submissions")).conn).secure()
	submissions.want("", "220")
	submission := dial(t, f.address("submission"))
	submission.want("", "220")
	submission.want("EHLO client.test", "250")
	submission.want("MAIL FROM:<postmaster@localhost>", "530")
}

// What was received is there after the next start, which is no first run.
func TestStartAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	f := start(t, path, everyDoor...)
	first := f.First()
	smtp := dial(t, f.address("smtp"))
	smtp.want("", "220")
	smtp.want("HELO client.test", "250")
	smtp.deliver("postmaster", "Subject: kept\r\n\r\nHello")
	f.shutdown()
	again := start(t, path, everyDoor...)
	if again.First() != nil {
		t.Error("the second start is a first run")
	}
	pop := dial(t, again.address("pop"))
	pop.want("", "+OK")
	if got := pop.read("postmaster", first.Password); !strings.Contains(got, "Subject: kept") {
		t.Errorf("got %s", got)
	}
}

func TestUnixSockets(t *testing.T) {
	dir, err := os.MkdirTemp("", "pr") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	lmtp, pop := filepath.Join(dir, "lmtp"), filepath.Join(dir, "pop")
	f := start(t, filepath.Join(dir, "data"), "smtp.listen=", "submission.listen=",
		"submissions.listen=", "pops.listen=", "lmtp.listen=unix:"+lmtp, "pop.listen=unix:"+pop)
	if got := f.address("lmtp"); got != "unix:"+lmtp {
		t.Errorf("got %s", got)
	}
	c := dial(t, "unix:"+lmtp)
	c.want("", "220 mx.test LMTP")
	c.want("LHLO router.test", "250")
	c.want("MAIL FROM:<x@example.net>", "250")
	c.want("RCPT TO:<postmaster@localhost>", "250")
	c.want("RCPT TO:<nobody@localhost>", "550 5.1.1 no such user here")
	c.want("DATA", "354")
	c.want("Subject: local\r\n\r\nHello\r\n.", "250 2.1.5 delivered")
	r := dial(t, "unix:"+pop)
	r.want("", "+OK")
	if got := r.read("postmaster", f.First().Password); !strings.Contains(got,
		"Received: from router.test\n\tby mx.test with LMTP id ") {
		t.Errorf("got %s", got)
	}
	f.shutdown()
	for _, path := range []string{lmtp, pop, filepath.Join(dir, "data", "control.sock")} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left behind: %v", path, err)
		}
	}
}

// One data directory has one server, one address one service; both refusals
// say what is meant.
func TestRefusesToStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	f := start(t, path, everyDoor...)
	if _, err := tryStart(t, path, everyDoor...); mail.KindOf(err) != mail.Locked {
		t.Errorf("the same directory: got %v, want one of kind Locked", err)
	}
	taken := f.address("pop")
	for _, service := range []string{"smtp", "pop", "metrics"} {
		sets := append(everyDoor[:len(everyDoor):len(everyDoor)], service+".listen="+taken)
		_, err := tryStart(t, filepath.Join(t.TempDir(), "other"), sets...)
		if err == nil || !strings.Contains(err.Error(), taken+" for "+service) {
			t.Errorf("the same port: got %v, want one that names %s and %s", err, taken, service)
		}
	}
	if _, err := tryStart(t, filepath.Join(t.TempDir(), "third"), "smtp.listen=nonsense"); err == nil {
		t.Error("a wrong address is taken")
	}
}

// The Received line and the greeting bear the name of the machine where no
// other is set.
// A server that stays root says so.
func TestRootWarning(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), everyDoor...)
	f.shutdown()
	want := os.Geteuid() == 0
	if got := strings.Contains(f.log.String(), " 1 server this server runs as root"); got != want {
		t.Errorf("got %v, want %v, in the log:\n%s", got, want, f.log.String())
	}
}

func TestHostname(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), append(everyDoor, "server.hostname=")...)
	want, err := os.Hostname()
	if err != nil || want == "" {
		want = "localhost"
	}
	if got := f.Hostname(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	dial(t, f.address("smtp")).want("", "220 "+want+" ")
}

func TestExemptAndProxy(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), append(everyDoor,
		"smtp.sessions_per_address=1", "limits.exempt=192.0.2.0/24", "pop.proxy_from=127.0.0.0/8")...)
	one := dial(t, f.address("smtp"))
	one.want("", "220")
	dial(t, f.address("smtp")).want("", "421 4.7.0 too many connections from your address")
	pop := dial(t, f.address("pop"))
	pop.want("PROXY TCP4 192.0.2.9 192.0.2.1 1 110", "+OK")
	if ip := f.remote("pop"); ip != netip.MustParseAddr("192.0.2.9") {
		t.Errorf("got %v", ip)
	}
}

// remote is the peer of the only session of a service.
func (f *fixture) remote(service string) netip.Addr {
	for _, d := range f.doors {
		if d.name == service {
			for _, c := range d.link.Sessions() {
				return c.Remote().Addr()
			}
		}
	}
	return netip.Addr{}
}
