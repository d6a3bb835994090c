package proof

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// A fetcher is one POP3 session.
type fetcher struct {
	conn net.Conn
	r    *bufio.Reader
}

func newFetcher(conn net.Conn) *fetcher {
	return &fetcher{conn, bufio.NewReaderSize(conn, 64<<10)}
}

// dialPOP logs in.
func dialPOP(address, box string) (*fetcher, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	f := newFetcher(conn)
	conn.SetDeadline(time.Now().Add(10 * patience))
	if _, err = f.line(); err == nil {
		_, err = f.ask("USER %s\r\n", box)
	}
	if err == nil {
		_, err = f.ask("PASS %s\r\n", password)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return f, nil
}

// line reads one answer, which must be +OK.
func (f *fetcher) line() (string, error) {
	line, err := f.r.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+OK") {
		err = fmt.Errorf("POP3 answer %q", strings.TrimSpace(line))
	}
	return strings.TrimSpace(line), err
}

// ask sends a command and reads one line.
func (f *fetcher) ask(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(f.conn, format, args...); err != nil {
		return "", err
	}
	return f.line()
}

// text reads the lines of an answer up to the dot, dots undone.
func (f *fetcher) text(into []byte) ([]byte, error) {
	begin := true // of a line; long lines come in pieces
	for {
		piece, err := f.r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return into, err
		}
		if begin && piece[0] == '.' {
			if string(piece) == ".\r\n" {
				return into, nil
			}
			piece = piece[1:]
		}
		into = append(into, piece...)
		begin = err == nil
	}
}

// uidl lists the unique ids, by message number from 1.
func (f *fetcher) uidl() ([]string, error) {
	if _, err := f.ask("UIDL\r\n"); err != nil {
		return nil, err
	}
	text, err := f.text(nil)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\r\n"), "\r\n") {
		if line == "" {
			continue
		}
		var n int
		var uid string
		if _, err := fmt.Sscan(line, &n, &uid); err != nil || n != len(list)+1 {
			return nil, fmt.Errorf("UIDL line %q", line)
		}
		list = append(list, uid)
	}
	return list, nil
}

// window is how many RETR are sent ahead.
const window = 16

// retrieve reads the messages with these numbers and hands each to visit.
func (f *fetcher) retrieve(numbers []int, visit func(n int, text []byte)) error {
	var buf []byte
	for i := range numbers {
		if i%window == 0 {
			var out bytes.Buffer
			for _, n := range numbers[i:min(i+window, len(numbers))] {
				fmt.Fprintf(&out, "RETR %d\r\n", n)
			}
			if _, err := f.conn.Write(out.Bytes()); err != nil {
				return err
			}
		}
		if _, err := f.line(); err != nil {
			return err
		}
		var err error
		if buf, err = f.text(buf[:0]); err != nil {
			return err
		}
		visit(numbers[i], buf)
	}
	return nil
}

// A memory knows which message stands behind each unique id, so that the
// same bytes need not be read again and again. It belongs to one mailbox.
type memory map[string]string

// inspect reads a mailbox, settles it with the ledger and returns what is
// wrong. Messages in known are not read again.
func (l *ledger) inspect(address, box string, known memory) []error {
	f, err := dialPOP(address, box)
	if err != nil {
		return []error{fmt.Errorf("%s: %w", box, err)}
	}
	defer f.conn.Close()
	uids, err := f.uidl()
	if err != nil {
		return []error{fmt.Errorf("%s: %w", box, err)}
	}
	var wrong []error
	var fresh []int
	found := map[string]int{}
	for i, uid := range uids {
		if id, ok := known[uid]; ok {
			found[id]++
		} else {
			fresh = append(fresh, i+1)
		}
	}
	err = f.retrieve(fresh, func(n int, text []byte) {
		id, err := l.recognize(text)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s, message %d: %w", box, n, err))
			return
		}
		known[uids[n-1]] = id
		found[id]++
	})
	if err == nil {
		_, err = f.ask("QUIT\r\n")
	}
	if err != nil {
		return append(wrong, fmt.Errorf("%s: %w", box, err))
	}
	return append(wrong, l.settle(box, found)...)
}

// identify reads a mailbox only to know its messages.
func (l *ledger) identify(address, box string) (memory, error) {
	f, err := dialPOP(address, box)
	if err != nil {
		return nil, err
	}
	defer f.conn.Close()
	uids, err := f.uidl()
	if err != nil {
		return nil, err
	}
	known := memory{}
	all := make([]int, len(uids))
	for i := range all {
		all[i] = i + 1
	}
	var wrong error
	err = f.retrieve(all, func(n int, text []byte) {
		id, err := l.recognize(text)
		if err != nil {
			wrong = err
		}
		known[uids[n-1]] = id
	})
	if err == nil {
		_, err = f.ask("QUIT\r\n")
	}
	return known, errors.Join(err, wrong)
}

// recognize finds out which message this is, and that it has the bytes that
// were sent, behind what the server puts on top.
func (l *ledger) recognize(text []byte) (id string, err error) {
	at := bytes.Index(text, []byte(idField))
	if at < 0 {
		return "", fmt.Errorf("not one of ours: %.200q", text)
	}
	text = text[at:]
	line, _, _ := bytes.Cut(text[len(idField):], []byte("\r\n"))
	id = string(line)
	m := l.message(id)
	if m == nil {
		return "", fmt.Errorf("%s was never sent whole", id)
	}
	if sha256.Sum256(text) != m.sum {
		return "", fmt.Errorf("%s has other bytes than were sent (%d, sent about %d)", id,
			len(text), m.size)
	}
	return id, nil
}

// remove deletes some messages of a mailbox that are in known, as a reader
// does it: DELE for each, then QUIT.
func (l *ledger) remove(address, box string, known memory, some func(n int) []int) error {
	f, err := dialPOP(address, box)
	if err != nil {
		return err
	}
	defer f.conn.Close()
	uids, err := f.uidl()
	if err != nil {
		return err
	}
	var ids []string
	for _, i := range some(len(uids)) {
		id, ok := known[uids[i]]
		if !ok {
			continue
		}
		if _, err := f.ask("DELE %d\r\n", i+1); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	l.quitting(box, ids)
	port := f.conn.LocalAddr().(*net.TCPAddr).Port
	if _, err := f.ask("QUIT\r\n"); err != nil {
		return err
	}
	l.quit(box, port, ids)
	return nil
}
