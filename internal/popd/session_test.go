package popd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// A client speaks to a rig without a transcript.
type client struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	c := &client{r.t, conn, bufio.NewReader(conn)}
	c.line("+OK")
	return c
}

// line reads one line, which must begin like this.
func (c *client) line(prefix string) string {
	c.t.Helper()
	line, err := c.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, prefix) {
		c.t.Fatalf("got %q, %v, want %s", line, err, prefix)
	}
	return line
}

// ask sends a command and reads the reply.
func (c *client) ask(command, prefix string) string {
	c.t.Helper()
	_, _ = io.WriteString(c.conn, command+"\r\n")
	return c.line(prefix)
}

// body reads a multi-line response after its first line.
func (c *client) body() []string {
	c.t.Helper()
	var out []string
	for {
		line := c.line("")
		if line == ".\r\n" {
			return out
		}
		out = append(out, line)
	}
}

func (c *client) login(user string) {
	c.t.Helper()
	c.ask("USER "+user, "+OK")
	c.ask("PASS secret", "+OK")
}

const alice = "alice@example.org"

func TestReadAhead(t *testing.T) {
	for _, tc := range []struct {
		name     string
		commands []string
		rows     int // calls for rows
	}{
		{"in order", retrs(1, 20), 2},
		{"the newest only", retrs(18, 20), 2},
		{"backwards", []string{"RETR 20", "RETR 19", "RETR 18"}, 3},
		{"TOP, then RETR", []string{"TOP 1 0", "RETR 1"}, 2},
		{"with some deleted", append([]string{"DELE 17", "DELE 18"},
			append(retrs(1, 16), "RETR 19", "RETR 20")...), 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.addUser(alice, "secret")
			for i := range 20 {
				_ = r.store.deliver(alice, fmt.Sprintf("Subject: %d\r\n\r\n", i+1))
			}
			r.start(defaults())
			c := r.dial()
			c.login(alice)
			for _, command := range tc.commands {
				c.ask(command, "+OK")
				if strings.HasPrefix(command, "DELE") {
					continue
				}
				n := strings.Fields(command)[1]
				if got, want := c.body()[0], "Subject: "+n+"\r\n"; got != want {
					t.Errorf("%s: got %q, want %q", command, got, want)
				}
			}
			if got := r.store.count("emails"); got != tc.rows {
				t.Errorf("got %d calls, want %d", got, tc.rows)
			}
		})
	}
}

func retrs(from, to int) []string {
	var out []string
	for n := from; n <= to; n++ {
		out = append(out, fmt.Sprintf("RETR %d", n))
	}
	return out
}

func TestManyMessages(t *testing.T) {
	for _, tc := range []struct{ count, pages int }{{0, 1}, {499, 1}, {500, 2}, {1234, 3}} {
		t.Run(fmt.Sprint(tc.count), func(t *testing.T) {
			r := newRig(t)
			r.addUser(alice, "secret")
			for range tc.count {
				_ = r.store.deliver(alice, "x")
			}
			r.start(defaults())
			c := r.dial()
			c.login(alice)
			want := fmt.Sprintf("+OK %d %d\r\n", tc.count, tc.count)
			if got := c.ask("STAT", "+OK"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			c.ask("UIDL", "+OK")
			seen := map[string]bool{}
			for i, line := range c.body() {
				n, id, _ := strings.Cut(strings.TrimSpace(line), " ")
				if n != fmt.Sprint(i+1) || seen[id] {
					t.Errorf("got %q after %d lines", line, i)
				}
				seen[id] = true
			}
			if pages := r.store.count("entries"); len(seen) != tc.count || pages != tc.pages {
				t.Errorf("got %d ids in %d pages, want %d in %d",
					len(seen), pages, tc.count, tc.pages)
			}
		})
	}
}

// The limits of a session under way follow SetLimits.
func TestSetLimits(t *testing.T) {
	r := newRig(t)
	r.start(defaults())
	c := r.dial()
	c.ask("BAD", "-ERR unknown")
	c.ask("BAD", "-ERR unknown")
	r.server.SetLimits(Limits{BadCommands: 3})
	c.ask("BAD", "-ERR unknown command; too many")
	if _, err := c.in.ReadByte(); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
}

// No two greetings are alike.
func TestTimestamps(t *testing.T) {
	srv := New(Config{Host: "mail.example.org"})
	seen := map[string]bool{}
	for range 1000 {
		seen[srv.timestamp()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("got %d, want 1000", len(seen))
	}
}

// RFC 2449 section 4: verbs are three or four letters, and every command has
// room for its arguments.
func TestTable(t *testing.T) {
	for verb, c := range commands {
		if len(verb) < 3 || len(verb) > 4 || verb != strings.ToUpper(verb) ||
			c.handle == nil || c.states == 0 || c.max < c.min {
			t.Errorf("%s: got %+v", verb, c)
		}
	}
}

// FuzzLine gives a session whatever a client may send. Whatever it is, no
// session panics, and each reply is one.
func FuzzLine(f *testing.F) {
	for _, seed := range []string{
		"USER a\r\nPASS b\r\n", "AUTH\r\nAUTH PLAIN\r\n*\r\n", "AUTH X-PROVE =\r\n====\r\n",
		"APOP a b\r\nAPOP  \r\nAPOP a  \r\nAPOP a \t\r\n", "CAPA\r\nLANG *\r\nUTF8\r\nSTLS\r\n",
		"USER alice@example.org\r\nPASS secret\r\nSTAT\r\nLIST 1\r\nUIDL 2\r\nRETR 1\r\nTOP 2 1\r\n" +
			"DELE 1\r\nLAST\r\nRSET\r\nXTND XLST Subject 1\r\nXTND XMIT\r\nTo: a\r\n\r\n.\r\nQUIT\r\n",
		"USER alice@example.org\r\nPASS secret\r\nXTND XMIT\r\n.\n..\r\r\n.\r\n",
		"\r\n \r\n  \n\x00\xff\r\nLIST  1 \r\nTOP 1  -1\r\n",
	} {
		f.Add(seed)
	}
	r := newRig(f)
	o := defaults()
	o.config.Composer = r.composer
	o.config.Limits = Limits{FailedLogins: 1000}
	r.addUser(alice, "secret")
	_ = r.store.deliver(alice, "Subject: one\r\n\r\n.first\r\n")
	_ = r.store.deliver(alice, "Subject: two\n\nsecond")
	_ = r.store.deliver("a", "")
	r.start(o)
	f.Fuzz(func(t *testing.T, in string) {
		before := r.links.Stats().Panics
		ours, theirs := net.Pipe()
		r.links.ServeConn(theirs)
		go func() {
			_, _ = io.WriteString(ours, in+"\r\n.\r\n\r\n*\r\nQUIT\r\n")
		}()
		out, _ := io.ReadAll(ours)
		ours.Close()
		for line := range strings.Lines(string(out)) {
			if !strings.HasSuffix(line, "\r\n") || len(line) > 512 {
				t.Errorf("line %q", line)
			}
		}
		if n := r.links.Stats().Panics - before; n != 0 {
			t.Errorf("%d panics", n)
		}
	})
}

// The log tells who came and what he did, and never a secret.
func TestLog(t *testing.T) {
	r := newRig(t)
	r.addUser(alice, "secret")
	_ = r.store.deliver(alice, "Subject: private\r\n\r\nsecret matters\r\n")
	_ = r.fails("emails", "disk")
	var log syncBuffer
	o := defaults()
	o.config.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.config.Metrics = prometheus.NewRegistry()
	r.start(o)
	c := r.dial()
	c.ask("USER "+alice, "+OK")
	c.ask("PASS wrong-secret", "-ERR")
	c.login(alice)
	c.ask("RETR 1", "-ERR [SYS/TEMP]")
	_ = r.fails("emails", "none")
	c.ask("RETR 1", "+OK")
	c.body()
	c.ask("DELE 1", "+OK")
	c.ask("QUIT", "+OK")
	text := log.String()
	for _, want := range []string{
		"pop: login", "account=" + alice, "method=USER", "disk trouble", "pop: session ends",
		"retrieved=1", "remote=127.0.0.1:",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, no := range []string{"wrong-secret", "=secret", "private", "secret matters"} {
		if strings.Contains(text, no) {
			t.Errorf("%q in\n%s", no, text)
		}
	}
}

// A damaged message has a record that says which and where, whether the
// damage is found before it is sent or at its end.
func TestLogOfDamage(t *testing.T) {
	for name, size := range map[string]int{"small": 100, "large": 100_000} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.addUser(alice, "secret")
			_ = r.store.deliver(alice, strings.Repeat("x", size))
			if err := r.store.damage(alice, 1); err != nil {
				t.Fatal(err)
			}
			var log syncBuffer
			o := defaults()
			o.config.Log = slog.New(slog.NewTextHandler(&log, nil))
			r.start(o)
			c := r.dial()
			c.login(alice)
			_, _ = io.WriteString(c.conn, "RETR 1\r\nQUIT\r\n")
			got, _ := io.ReadAll(c.in)
			if bytes.HasSuffix(got, []byte("\n.\r\n")) {
				t.Error("the message ends as if it were whole")
			}
			want := "level=ERROR msg=\"pop: a message is damaged\""
			var record string
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, want) {
					record += line
				}
			}
			for _, part := range []string{
				" account=" + alice, " email=00000000000z9", " volume=1", " offset=1001",
			} {
				if !strings.Contains(record, part) {
					t.Errorf("no %q in %q", part, record)
				}
			}
			if strings.Count(record, "\n") != 1 {
				t.Errorf("got\n%s, want one record", record)
			}
		})
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestMetrics(t *testing.T) {
	r := newRig(t)
	r.addUser(alice, "secret")
	_ = r.store.deliver(alice, "0123456789")
	reg := prometheus.NewRegistry()
	o := defaults()
	o.config.Metrics, o.config.Composer = reg, r.composer
	r.start(o)
	c, other := r.dial(), r.dial()
	c.ask("USER "+alice, "+OK")
	c.ask("PASS wrong", "-ERR")
	c.login(alice)
	other.ask("USER "+alice, "+OK")
	other.ask("PASS secret", "-ERR [IN-USE]")
	c.ask("RETR 1", "+OK")
	c.body()
	c.ask("DELE 1", "+OK")
	c.ask("XTND XMIT", "+OK")
	c.ask("To: "+alice+"\r\n\r\n.", "+OK")
	c.ask("QUIT", "+OK")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{
		"postrider_pop_logins_total ok": 1, "postrider_pop_logins_total refused": 1,
		"postrider_pop_logins_total in-use": 1, "postrider_pop_messages_total": 1,
		"postrider_pop_octets_total": 10, "postrider_pop_deleted_total": 1,
		"postrider_pop_sent_total": 1,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
