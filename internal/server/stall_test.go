package server

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// envelope brings a stranger up to DATA.
func (c *client) envelope() {
	c.t.Helper()
	c.want("", "220")
	c.want("EHLO client.test", "250")
	c.want("MAIL FROM:<x@example.net>", "250")
	c.want("RCPT TO:<postmaster>", "250")
}

// Peers that stop within a message, or go on by a byte now and then, do not
// keep the memory that others need; and what they sent is kept.
func TestStalledMessages(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), append(everyDoor, "store.memory=1M")...)
	lines := strings.Repeat(strings.Repeat("y", 76)+"\r\n", 120)
	var stalled []*client
	for i := range 96 {
		c := dial(t, f.address("smtp"))
		c.envelope()
		c.send("DATA")
		c.conn.SetDeadline(time.Now().Add(6 * patience))
		c.want("", "354")
		switch {
		case i < 64:
			c.send(fmt.Sprintf("Subject: stalled %d\r\n\r\n", i) + lines)
		case i < 80:
			c.send(fmt.Sprintf("Subject: stalled %d", i))
		default: // nothing at all
		}
		stalled = append(stalled, c)
	}
	honest := dial(t, f.address("smtp"))
	honest.want("", "220")
	honest.want("EHLO client.test", "250")
	for i := range 3 {
		began := time.Now()
		honest.deliver("postmaster", fmt.Sprintf("Subject: honest %d\r\n\r\n%s", i, lines))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a message took %v", took)
		}
	}
	for i, c := range stalled {
		if i >= 80 {
			c.send("Subject: late")
		}
		c.send("\r\nthe end")
		c.want(".", "250 2.0.0 accepted as ")
		c.conn.Close()
	}
	pop := dial(t, f.address("pop"))
	pop.want("", "+OK")
	pop.want("USER postmaster", "+OK")
	pop.want("PASS "+f.First().Password, "+OK")
	if got := pop.want("STAT", "+OK"); !strings.HasPrefix(got, "+OK 99 ") {
		t.Errorf("got %s, want 99 messages", got)
	}
}

// Who waits for memory when the server stops does not wait any longer.
func TestShutdownEndsWaiting(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), append(everyDoor, "auth.delay_max=30s")...)
	var slow []*client
	for range 6 { // each failure doubles the delay of the next
		c := dial(t, f.address("pop"))
		c.want("", "+OK")
		c.want("USER postmaster", "+OK")
		c.send("PASS wrong")
		slow = append(slow, c)
	}
	smtp := dial(t, f.address("submission"))
	smtp.want("", "220")
	smtp.want("EHLO client.test", "250")
	smtp.send("AUTH PLAIN AHBvc3RtYXN0ZXIAd3Jvbmc=")
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	f.shutdown()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("stopping took %v", took)
	}
	for _, c := range append(slow, smtp) {
		if rest, _ := io.ReadAll(c.text.R); !strings.Contains(string(rest), "stopping") &&
			!strings.Contains(string(rest), "shutting down") {
			t.Errorf("got %q", rest)
		}
	}
}
