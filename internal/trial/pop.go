package trial

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"time"
)

// A POP is a POP3 session, for one goroutine. It has no use after an error.
type POP struct {
	Conn net.Conn
	r    *bufio.Reader
}

// NewPOP is a session on a connection, on which nothing was read yet.
func NewPOP(conn net.Conn) *POP {
	return &POP{conn, bufio.NewReaderSize(conn, 64<<10)}
}

// DialPOP connects and logs in. The session may last ten times Patience.
func DialPOP(address, user, password string) (*POP, error) {
	conn, err := net.DialTimeout("tcp", address, Patience)
	if err != nil {
		return nil, err
	}
	p := NewPOP(conn)
	conn.SetDeadline(time.Now().Add(10 * Patience))
	if _, err = p.Line(); err == nil {
		_, err = p.Ask("USER %s\r\n", user)
	}
	if err == nil {
		_, err = p.Ask("PASS %s\r\n", password)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

// Line reads one answer, which must be +OK.
func (p *POP) Line() (string, error) {
	line, err := p.r.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+OK") {
		err = fmt.Errorf("POP3 answer %q", strings.TrimSpace(line))
	}
	return strings.TrimSpace(line), err
}

// Ask sends a command and reads one line.
func (p *POP) Ask(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(p.Conn, format, args...); err != nil {
		return "", err
	}
	return p.Line()
}

// Text appends the lines of an answer up to the dot, dots undone and line ends
// as they are.
func (p *POP) Text(into []byte) ([]byte, error) {
	begin := true // of a line; long lines come in pieces
	for {
		piece, err := p.r.ReadSlice('\n')
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

// UIDL lists the unique ids, by message number from 1.
func (p *POP) UIDL() ([]string, error) {
	if _, err := p.Ask("UIDL\r\n"); err != nil {
		return nil, err
	}
	text, err := p.Text(nil)
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

// Retrieve reads the messages with these numbers and hands each to visit,
// which must not keep the text.
func (p *POP) Retrieve(numbers []int, visit func(n int, text []byte)) error {
	var buf []byte
	for i := range numbers {
		if i%window == 0 {
			var out bytes.Buffer
			for _, n := range numbers[i:min(i+window, len(numbers))] {
				fmt.Fprintf(&out, "RETR %d\r\n", n)
			}
			if _, err := p.Conn.Write(out.Bytes()); err != nil {
				return err
			}
		}
		if _, err := p.Line(); err != nil {
			return err
		}
		var err error
		if buf, err = p.Text(buf[:0]); err != nil {
			return err
		}
		visit(numbers[i], buf)
	}
	return nil
}

// All reads every message.
func (p *POP) All() ([]string, error) {
	line, err := p.Ask("STAT\r\n")
	if err != nil {
		return nil, err
	}
	var n int
	if _, err := fmt.Sscanf(line, "+OK %d", &n); err != nil {
		return nil, fmt.Errorf("STAT line %q", line)
	}
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i + 1
	}
	var all []string
	err = p.Retrieve(numbers, func(_ int, text []byte) { all = append(all, string(text)) })
	return all, err
}

// Quit ends the session, with which deletions take effect.
func (p *POP) Quit() error {
	_, err := p.Ask("QUIT\r\n")
	return err
}
