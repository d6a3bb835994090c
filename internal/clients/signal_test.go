package clients

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/internal/trial"
)

// A talk is a session that a test types itself.
type talk struct {
	t *testing.T
	net.Conn
}

func (s *server) talk(t *testing.T, service string) *talk {
	t.Helper()
	return talkTo(t, s.Address(t, service))
}

func talkTo(t *testing.T, address string) *talk {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, trial.Patience)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(trial.Patience))
	t.Cleanup(func() { conn.Close() })
	return &talk{t: t, Conn: conn}
}

// say sends lines, with CRLF.
func (c *talk) say(lines ...string) *talk {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	return c
}

// hear reads until the text has come and gives all that came.
func (c *talk) hear(text string) string {
	c.t.Helper()
	var all []byte
	chunk := make([]byte, 4096)
	for !strings.Contains(string(all), text) {
		n, err := c.Read(chunk)
		all = append(all, chunk[:n]...)
		if err != nil {
			c.t.Fatalf("%v instead of %q; before it came %q", err, text, all)
		}
	}
	return string(all)
}

// end reads all that still comes; the server must close.
func (c *talk) end() string {
	c.t.Helper()
	all, err := io.ReadAll(c)
	if err != nil {
		c.t.Fatalf("%v after %q", err, all)
	}
	return string(all)
}

// A server that is told to stop takes the message that is under way, and says
// 421 to everybody else; what it confirmed is there after the next start.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		stop func(t *testing.T, s *server)
	}{
		{"SIGTERM", func(_ *testing.T, s *server) { s.Cmd.Process.Signal(syscall.SIGTERM) }},
		{"SIGINT", func(_ *testing.T, s *server) { s.Cmd.Process.Signal(os.Interrupt) }},
		{"stop", func(t *testing.T, s *server) {
			go postrider(t, s.dir, "stop") // returns at the end
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t)
			account := s.account(t, "alice")
			idle, reader := s.talk(t, "smtp"), s.talk(t, "pop")
			idle.hear("220 ")
			idle.say("EHLO client.example.net").hear("250 ")
			reader.hear("+OK")
			busy := s.talk(t, "smtp")
			busy.hear("220 ")
			busy.say("HELO client.example.net").hear("250 ")
			busy.say("MAIL FROM:<sender@example.net>").hear("250 ")
			busy.say("RCPT TO:<" + account + ">").hear("250 ")
			busy.say("DATA").hear("354 ")
			head, tail, _ := strings.Cut(letter, "\r\n\r\n")
			busy.say(head, "")

			tc.stop(t, s)
			if got := idle.end(); !strings.HasPrefix(got, "421 ") {
				t.Errorf("the idle session hears %q", got)
			}
			reader.end()
			if conn, err := net.Dial("tcp", s.Address(t, "smtp")); err == nil {
				conn.Close()
				t.Error("new connections are accepted while stopping")
			}
			busy.say(stuffed(tail) + ".")
			busy.hear("250 ")
			busy.end()
			s.Wait(t)
			again := serveIn(t, s.dir, everyDoor...)
			again.wantMail(t, account, letter)
			again.stop()
			postrider(t, s.dir, "check").Want(t, 0)
		})
	}
}

// SIGHUP has the settings file read again.
func TestHangUp(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	config := file(t, "postrider.toml", "[smtp]\nmax_size = \"1M\"\n")
	s := serveIn(t, dir, append([]string{"--config", config}, everyDoor...)...)
	announced := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(trial.Patience); ; time.Sleep(10 * time.Millisecond) {
			c := s.talk(t, "smtp")
			c.hear("220 ")
			got := c.say("EHLO x.example.net").hear("250 ")
			c.Close()
			if strings.Contains(got, "SIZE "+want+"\r\n") {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("SIZE is not %s: %q", want, got)
			}
		}
	}
	announced("1048576")
	rewrite := func(content string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Cmd.Process.Signal(syscall.SIGHUP)
	}
	rewrite("[smtp]\nmax_size = \"2M\"\n")
	announced("2097152")
	// A wrong file changes nothing and stops nothing; reload says what is wrong.
	rewrite("[smtp]\nmax_size = \"lots\"\n")
	r := postrider(t, dir, "reload").Want(t, 1)
	for _, want := range []string{"postrider.toml:2: ", "smtp.max_size", "lots"} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("%v\nlacks %q", r, want)
		}
	}
	announced("2097152")
}

// SIGKILL leaves nothing that is in the way of the next start.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := serve(t)
	account := s.account(t, "alice")
	s.send(t, account, letter)
	s.Kill()
	postrider(t, s.dir, "status").Want(t, 5)
	if r := postrider(t, s.dir, "account", "list").Want(t, 0); !strings.Contains(r.Stdout, account) {
		t.Errorf("%v", r)
	}
	again := serveIn(t, s.dir, everyDoor...)
	again.wantMail(t, account, letter)
}
