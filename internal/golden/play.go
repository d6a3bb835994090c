package golden

import (
	"bufio"
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A peer is the client's end of one connection.
type peer struct {
	conn   net.Conn
	in     *bufio.Reader
	closed bool // nothing more is expected
}

// A player plays one script.
type player struct {
	sc       *script
	srv      Server
	peers    map[int]*peer
	vars     map[string]string
	log      strings.Builder
	limit    time.Duration // of each read
	quiet    time.Duration // after it a reply counts as whole, under -update
	updating bool
	edits    map[int][]string // by line: what stands there instead
}

func newPlayer(sc *script, srv Server) *player {
	return &player{
		sc: sc, srv: srv, limit: ReadLimit, quiet: quiet,
		peers: map[int]*peer{},
		vars:  map[string]string{},
		edits: map[int][]string{},
	}
}

func (p *player) play(ctx context.Context) error {
	for i, st := range p.sc.steps {
		if err := p.step(ctx, st); err != nil {
			return p.failure(st, err)
		}
		if p.updating {
			var next step
			if i+1 < len(p.sc.steps) {
				next = p.sc.steps[i+1]
			}
			p.collect(st, next)
		}
	}
	for n, c := range p.peers {
		if err := p.finish(c); err != nil {
			return p.failure(step{line: len(p.sc.lines), conn: n, verb: "end"}, err)
		}
	}
	return nil
}

// failure adds to an error where it happened and what was said before.
func (p *player) failure(st step, err error) error {
	return fmt.Errorf("%s:%d: %s\n%w\nthe dialogue so far:\n%s",
		p.sc.file, st.line, st, err, p.log.String())
}

func (p *player) step(ctx context.Context, st step) error {
	switch st.verb {
	case "let":
		return p.let(st)
	case "do":
		return p.do(st)
	case "wait":
		d, err := time.ParseDuration(st.text)
		if err != nil {
			return err
		}
		time.Sleep(d)
		return nil
	}
	c, err := p.peer(ctx, st.conn)
	if err != nil {
		return err
	}
	switch {
	case st.sends():
		return p.send(c, st)
	case st.receives():
		return p.receive(c, st)
	}
	p.note(st.conn, st.verb)
	switch st.verb {
	case "C-eof":
		return closeWrite(c.conn)
	case "C-close":
		c.closed = true
		return c.conn.Close()
	case "S-eof":
		return p.eof(c, st)
	}
	return p.startTLS(ctx, c)
}

func (p *player) peer(ctx context.Context, n int) (*peer, error) {
	if c := p.peers[n]; c != nil {
		return c, nil
	}
	dial := p.srv.Dial
	if dial == nil {
		dial = func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", p.srv.Address)
		}
	}
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &peer{conn: conn, in: bufio.NewReader(conn)}
	p.peers[n] = c
	return c, nil
}

func (p *player) note(conn int, s string) {
	fmt.Fprintf(&p.log, "    %d %s\n", conn, s)
}

func (p *player) send(c *peer, st step) error {
	text := st.text
	switch st.verb {
	case "C":
		expanded, err := expand(text, p.vars)
		if err != nil {
			return err
		}
		p.note(st.conn, "C: "+expanded)
		text = expanded + "\r\n"
	case "C-raw":
		p.note(st.conn, st.verb+": "+text)
		raw, err := strconv.Unquote(text)
		if err != nil {
			return fmt.Errorf("not a Go string: %s", text)
		}
		if text, err = expand(raw, p.vars); err != nil {
			return err
		}
	case "C-fill":
		p.note(st.conn, st.verb+": "+text)
		count, quoted, _ := strings.Cut(text, " ")
		n, err := strconv.Atoi(count)
		if err != nil {
			return fmt.Errorf("not a number: %s", count)
		}
		unit, err := strconv.Unquote(quoted)
		if err != nil {
			return fmt.Errorf("not a Go string: %s", quoted)
		}
		text = strings.Repeat(unit, n)
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(p.limit))
	if _, err := io.WriteString(c.conn, text); err != nil {
		p.note(st.conn, err.Error()) // whether that is right, the next S tells
	}
	return nil
}

func (p *player) receive(c *peer, st step) error {
	if st.verb == "S-raw" {
		return p.receiveRaw(c, st)
	}
	for {
		got, err := p.readLine(c, p.limit)
		if err != nil && p.updating {
			p.edits[st.line] = []string{}
			return nil
		}
		if err != nil {
			return fmt.Errorf("got  %s\nwant %s", describe(got, err), st.text)
		}
		p.note(st.conn, "S: "+shown(got))
		line, crlf := strings.CutSuffix(got, "\r\n")
		if crlf && match(st.text, line, p.vars) {
			return nil
		}
		if st.verb == "S-skip" {
			continue
		}
		if p.updating {
			p.edits[st.line] = []string{asStep(st.conn, got)}
			return nil
		}
		return fmt.Errorf("got  %s\nwant %s", shown(got), st.text)
	}
}

func (p *player) receiveRaw(c *peer, st step) error {
	want, err := strconv.Unquote(st.text)
	if err != nil {
		return fmt.Errorf("not a Go string: %s", st.text)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(p.limit))
	got := make([]byte, len(want))
	n, err := io.ReadFull(c.in, got)
	p.note(st.conn, "S-raw: "+strconv.Quote(string(got[:n])))
	switch {
	case err == nil && string(got) == want:
		return nil
	case p.updating:
		p.edits[st.line] = []string{step{conn: st.conn, verb: st.verb,
			text: strconv.Quote(string(got[:n]))}.String()}
		return nil
	}
	return fmt.Errorf("got  %q (%v)\nwant %q", got[:n], err, want)
}

// readLine reads up to LF. What came before an error is returned with it.
func (p *player) readLine(c *peer, limit time.Duration) (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(limit))
	return c.in.ReadString('\n')
}

// eof waits for the server's end of the connection. A reset counts: a server
// that closes while bytes of ours are on their way makes one.
func (p *player) eof(c *peer, st step) error {
	limit := p.limit
	if p.updating {
		limit = p.quiet
	}
	got, err := p.readLine(c, limit)
	if got == "" && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.closed = true
		_ = c.conn.Close()
		return nil
	}
	if p.updating && got == "" {
		p.edits[st.line] = []string{}
		return nil
	}
	return fmt.Errorf("got  %s\nwant the end of the connection", describe(got, err))
}

// finish ends a connection from the client's side and sees that the server
// has said all.
func (p *player) finish(c *peer) error {
	if c.closed {
		return nil
	}
	if err := closeWrite(c.conn); err != nil {
		return nil // ended by the server already
	}
	got, err := p.readLine(c, p.limit)
	if got == "" && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return fmt.Errorf("got  %s\nwant the end of the connection after the client's end",
		describe(got, err))
}

func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}

func (p *player) startTLS(ctx context.Context, c *peer) error {
	if n := c.in.Buffered(); n > 0 {
		b, _ := c.in.Peek(n)
		return fmt.Errorf("before the handshake the server also said %q", b)
	}
	conn := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	_ = c.conn.SetDeadline(time.Now().Add(p.limit))
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	_ = c.conn.SetDeadline(time.Time{})
	c.conn, c.in = conn, bufio.NewReader(conn)
	return nil
}

func (p *player) let(st step) error {
	args, err := words(st.text)
	if err != nil {
		return err
	}
	if len(args) < 2 {
		return errors.New("let needs a name and a function")
	}
	for i := range args {
		if args[i], err = expand(args[i], p.vars); err != nil {
			return err
		}
	}
	call := Call{Func: args[1], Args: args[2:]}
	if c := p.peers[st.conn]; c != nil {
		if tc, ok := c.conn.(*tls.Conn); ok {
			state := tc.ConnectionState()
			call.TLS = &state
		}
	}
	value, err := p.call(call)
	if err != nil {
		return err
	}
	p.vars[args[0]] = value
	return nil
}

// call computes a value. The arguments of the built-in functions are joined.
func (p *player) call(c Call) (string, error) {
	switch c.Func {
	case "base64":
		return base64.StdEncoding.EncodeToString([]byte(strings.Join(c.Args, ""))), nil
	case "md5":
		sum := md5.Sum([]byte(strings.Join(c.Args, "")))
		return hex.EncodeToString(sum[:]), nil
	}
	if p.srv.Let == nil {
		return "", fmt.Errorf("no such function: %s", c.Func)
	}
	return p.srv.Let(c)
}

func (p *player) do(st step) error {
	p.note(st.conn, st.String())
	if p.srv.Do == nil {
		return errors.New("this server does nothing")
	}
	w, err := words(st.text)
	if err != nil {
		return err
	}
	return p.srv.Do(w)
}

func (p *player) closeAll() {
	for _, c := range p.peers {
		_ = c.conn.Close()
	}
}

// shown is a line as a failure shows it: quoted only if it must be.
func shown(line string) string {
	s, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return strconv.Quote(line)
	}
	return s
}

func describe(got string, err error) string {
	s := "nothing"
	if got != "" {
		s = shown(got)
	}
	switch {
	case err == nil:
		return s
	case errors.Is(err, io.EOF):
		return s + ", then the end of the connection"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return s + ", then silence"
	}
	return fmt.Sprintf("%s, then %v", s, err)
}
