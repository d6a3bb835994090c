package golden

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"
)

// quiet is how long a server under -update must be silent until its reply
// counts as whole.
const quiet = 300 * time.Millisecond

// speaks says whether the client is not through yet when s follows a step of
// its own: a file may cut what it sends into several.
func (s step) speaks() bool {
	return s.sends() || s.verb == "wait" || s.verb == "C-eof" || s.verb == "C-close"
}

// collect reads, under -update, what the server says beyond the S lines that
// the file has at this place, and remembers it as new lines there.
func (p *player) collect(done, next step) {
	same := next.conn == done.conn
	switch {
	case same && next.receives():
		return
	case done.receives():
	case (done.sends() || done.verb == "C-eof") && !(same && next.speaks()):
	default:
		return
	}
	c := p.peers[done.conn]
	for {
		got, err := p.readLine(c, p.quiet)
		if got != "" {
			p.note(done.conn, "S: "+shown(got))
			p.insert(done.line, asStep(done.conn, got))
		}
		if err == nil {
			continue
		}
		ended := !errors.Is(err, os.ErrDeadlineExceeded)
		if ended && !(same && next.verb == "S-eof") {
			p.insert(done.line, step{conn: done.conn, verb: "S-eof"}.String())
			c.closed = true
		}
		return
	}
}

// insert puts a new line after line n and what was inserted there before.
func (p *player) insert(n int, text string) {
	lines, ok := p.edits[n]
	if !ok {
		lines = []string{p.sc.lines[n-1]}
	}
	p.edits[n] = append(lines, text)
}

// asStep is a step that expects the line.
func asStep(conn int, got string) string {
	line, ok := strings.CutSuffix(got, "\r\n")
	if !ok || strings.ContainsAny(line, "\r\x00") || wildcard.MatchString(line) {
		return step{conn: conn, verb: "S-raw", text: strconv.Quote(got)}.String()
	}
	return step{conn: conn, verb: "S", text: line}.String()
}

// rewritten is the file with what -update found.
func (p *player) rewritten() string {
	var out []string
	for i, line := range p.sc.lines {
		if lines, ok := p.edits[i+1]; ok {
			out = append(out, lines...)
			continue
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n") + "\n"
}
