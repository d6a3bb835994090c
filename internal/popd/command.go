package popd

import (
	"bytes"
	"context"
	"strconv"
	"strings"
)

// A state is one of RFC 1939's states of a session; a command is allowed in
// some of them.
type state uint8

const (
	authorization state = 1 << iota
	transaction
	anyState = authorization | transaction
)

// maxCommand is the length of a command line without its line end
// (RFC 2449 section 4).
const maxCommand = 253

// many is for commands that read the rest of their line themselves.
const many = 1 << 10

// A command is a row of the table: where it is allowed, how many words may
// follow it, and what it does.
type command struct {
	states   state
	min, max int
	handle   func(s *session, ctx context.Context, a args) reply
	// long lines are taken: RFC 5034 section 4 wants long responses on a
	// line of their own, but clients give them with AUTH itself.
	long bool
}

// commands is the table, by verb in upper case.
var commands = map[string]command{
	"USER": {states: authorization, min: 1, max: many, handle: (*session).user},
	"PASS": {states: authorization, min: 0, max: many, handle: (*session).pass},
	"APOP": {states: authorization, min: 2, max: many, handle: (*session).apop},
	"AUTH": {states: authorization, min: 0, max: 2, handle: (*session).auth, long: true},
	"STLS": {states: authorization, min: 0, max: 0, handle: (*session).stls},
	"UTF8": {states: authorization, min: 0, max: 0, handle: (*session).utf8},
	"LANG": {states: anyState, min: 0, max: 1, handle: (*session).lang},
	"CAPA": {states: anyState, min: 0, max: 0, handle: (*session).capa},
	"QUIT": {states: anyState, min: 0, max: 0, handle: (*session).quit},
	"STAT": {states: transaction, min: 0, max: 0, handle: (*session).stat},
	"LIST": {states: transaction, min: 0, max: 1, handle: (*session).list},
	"UIDL": {states: transaction, min: 0, max: 1, handle: (*session).uidl},
	"RETR": {states: transaction, min: 1, max: 1, handle: (*session).retr},
	"TOP":  {states: transaction, min: 2, max: 2, handle: (*session).top},
	"DELE": {states: transaction, min: 1, max: 1, handle: (*session).dele},
	"RSET": {states: transaction, min: 0, max: 0, handle: (*session).rset},
	"NOOP": {states: transaction, min: 0, max: 0, handle: (*session).noop},
	"LAST": {states: transaction, min: 0, max: 0, handle: (*session).last},
	"XTND": {states: transaction, min: 1, max: 3, handle: (*session).xtnd},
}

// args is what follows the verb. All of it is valid while the line is.
type args struct {
	rest  []byte    // as it came, after one space
	words [3][]byte // the first words of it
	n     int       // how many words there are
}

// split parts a line into verb and arguments. An unknown verb gives no
// command.
func split(line []byte) (command, args) {
	verb, rest, _ := bytes.Cut(line, []byte{' '})
	var upper [4]byte
	if len(verb) > len(upper) {
		return command{}, args{}
	}
	for i, c := range verb {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	a := args{rest: rest}
	for {
		rest = bytes.TrimLeft(rest, " ")
		if len(rest) == 0 {
			break
		}
		var word []byte
		word, rest, _ = bytes.Cut(rest, []byte{' '})
		if a.n < len(a.words) {
			a.words[a.n] = word
		}
		a.n++
	}
	return commands[string(upper[:len(verb)])], a
}

// number reads a decimal number of RFC 1939; one that is too large for any
// use comes out as the largest.
func number(b []byte) (int, bool) {
	const most = 1<<31 - 1
	if len(b) == 0 {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int(c-'0'), most)
	}
	return n, true
}

// A status is how a reply begins.
type status uint8

const (
	silent    status = iota // no reply at all
	positive                // +OK
	negative                // -ERR
	challenge               // + and a challenge, RFC 5034 section 4
)

// A reply is what a handler gives to the loop.
type reply struct {
	status status
	code   string // response code (RFC 2449 section 8), without brackets
	text   string
	body   body // follows as a multi-line response; nil for none
	bad    bool // the command was wrong; counts against Limits.BadCommands
	end    bool // the session ends
	// then is called after the reply was written, whatever became of the
	// connection, and gives the next reply.
	then func(ctx context.Context) reply
}

// A body writes the lines of a multi-line response, without the last dot. It
// is called once for each reply, whatever became of the connection. An error
// ends the session.
type body interface {
	write(ctx context.Context, s *session) error
}

func ok(text string) reply { return reply{status: positive, text: text} }

func fail(code, text string) reply { return reply{status: negative, code: code, text: text} }

func bad(text string) reply { return reply{status: negative, text: text, bad: true} }

// numbers is a text of two numbers.
func numbers(a, b int64) string {
	buf := make([]byte, 0, 40)
	buf = strconv.AppendInt(buf, a, 10)
	buf = append(buf, ' ')
	return string(strconv.AppendInt(buf, b, 10))
}

// oneLine makes a text of others fit to stand in a reply: RFC 2449 section 4
// allows 512 octets.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	const most = 450
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}
