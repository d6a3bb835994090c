package proof

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"postrider/internal/trial"
)

// maxWAL is what the write-ahead log may take, with what may come on top
// while the server makes it begin anew, in bytes.
const maxWAL = 300 << 20

// TestSlowPeers measures 100 senders and 100 readers, first alone and then
// beside peers that send or take a byte now and then. The times are reported;
// only a standstill fails. A slow reader must not make the write-ahead log
// grow without bound.
func TestSlowPeers(t *testing.T) {
	g := newRun(t, 8)
	s := start(t, g.dir, launch{sets: []string{"pop.sessions_per_address=1000",
		"smtp.sessions_per_address=1000"}})
	seconds := time.Duration(number(t, "PROOF_LOAD", 4)) * time.Second
	g.send(t, s, 2, 8, sizes{medium: 50, large: 50}) // something large to read

	alone := g.crowd(t, s, seconds)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for _, slow := range []func(context.Context, *server) error{
		g.slowCommand, g.slowData, g.slowReader} {
		group.Go(func() {
			if err := slow(ctx, s); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	beside := g.crowd(t, s, seconds)
	cancel()
	group.Wait()

	say(t, "slow peers: alone %s; beside slow ones %s", alone, beside)
	for _, c := range []*crowd{alone, beside} {
		if c.worst() > 20*time.Second || len(c.sent) == 0 || len(c.read) == 0 {
			t.Errorf("somebody stood still: %s", c)
		}
		if c.wal > maxWAL {
			t.Errorf("the write-ahead log has grown to %d MB", c.wal>>20)
		}
	}
	g.inspect(t, s)
	sound(t, g.dir)
}

// A crowd is what a measurement saw: how long each message and each reading
// took.
type crowd struct {
	mu   sync.Mutex
	sent []time.Duration
	read []time.Duration
	wal  int64 // bytes at most
}

func (c *crowd) String() string {
	return fmt.Sprintf("[messages=%d p50=%v p99=%v, readings=%d p50=%v p99=%v, wal=%dMB]",
		len(c.sent), quantile(c.sent, 50), quantile(c.sent, 99),
		len(c.read), quantile(c.read, 50), quantile(c.read, 99), c.wal>>20)
}

func (c *crowd) worst() time.Duration {
	return max(quantile(c.sent, 100), quantile(c.read, 100))
}

// quantile sorts the list and returns the value that so many of a hundred do
// not exceed.
func quantile(list []time.Duration, percent int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[(len(list)-1)*percent/100].Round(100 * time.Microsecond)
}

// crowd runs 100 senders and 100 readers for a time.
func (g *run) crowd(t *testing.T, s *server, d time.Duration) *crowd {
	t.Helper()
	const each = 100
	c := &crowd{}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var group sync.WaitGroup
	for range each {
		k := g.maker(sizes{medium: 1})
		group.Go(func() {
			// Number 0: one message at a time, so that a time is a reply's.
			err := load(ctx, s.smtp, g.ledger, k, 0, func(d time.Duration) {
				c.note(&c.sent, d)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range each {
		group.Go(func() {
			for ctx.Err() == nil {
				if err := g.stat(s, c); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Go(func() { c.watch(ctx, g.dir) })
	group.Wait()
	return c
}

func (c *crowd) note(list *[]time.Duration, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*list = append(*list, d)
}

// stat connects and asks for the capabilities: a session without a login, of
// which a maildrop allows only one.
func (g *run) stat(s *server, c *crowd) error {
	began := time.Now()
	conn, err := net.DialTimeout("tcp", s.pop, trial.Patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(trial.Patience))
	f := trial.NewPOP(conn)
	if _, err = f.Line(); err == nil {
		_, err = f.Ask("CAPA\r\n")
	}
	if err == nil {
		_, err = f.Text(nil)
	}
	if err == nil {
		err = f.Quit()
	}
	c.note(&c.read, time.Since(began))
	time.Sleep(100 * time.Millisecond)
	return err
}

// watch keeps the largest size of the write-ahead log.
func (c *crowd) watch(ctx context.Context, dir string) {
	for ctx.Err() == nil {
		if info, err := os.Stat(filepath.Join(dir, "postrider.db-wal")); err == nil {
			c.wal = max(c.wal, info.Size())
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// trickle writes a byte a second until ctx ends.
func trickle(ctx context.Context, conn net.Conn, text string) error {
	for i := 0; ; i++ {
		if _, err := conn.Write([]byte{text[i%len(text)]}); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// slowCommand sends a command a byte at a time.
func (g *run) slowCommand(ctx context.Context, s *server) error {
	c, err := dialSMTP(s.smtp, g.ledger)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	return trickle(ctx, c.conn, "NOOP and so on and so forth\r\n")
}

// slowData sends a message a byte at a time.
func (g *run) slowData(ctx context.Context, s *server) error {
	c, err := dialSMTP(s.smtp, g.ledger)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	m := &message{to: g.boxes[:1]}
	if _, err := c.conn.Write(m.envelope("DATA\r\n")); err != nil {
		return err
	}
	if err := c.opened(m); err != nil {
		return err
	}
	if _, _, err := c.expect(354); err != nil {
		return err
	}
	return trickle(ctx, c.conn, "Subject: slowly\r\n")
}

// slowReader asks for everything in a mailbox and takes a byte at a time.
func (g *run) slowReader(ctx context.Context, s *server) error {
	f, err := dialPOP(s.pop, g.boxes[0])
	if err != nil {
		return err
	}
	defer f.Conn.Close()
	uids, err := f.UIDL()
	if err != nil {
		return err
	}
	if len(uids) == 0 {
		return errors.New("there is nothing to read slowly")
	}
	for i := range uids {
		if _, err := fmt.Fprintf(f.Conn, "RETR %d\r\n", i+1); err != nil {
			return err
		}
	}
	one := make([]byte, 1)
	for ctx.Err() == nil {
		if _, err := f.Conn.Read(one); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}
