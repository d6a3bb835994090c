package proof

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// traced are the calls that decide what is on the disk and what a client
// hears. A call that another system lacks is passed over ("?").
const traced = "?open,openat,?openat2,?creat,close,?dup,?dup2,?dup3,write,pwrite64,writev,pwritev," +
	"?pwritev2,sendto,sendmsg,ftruncate,?truncate,?fallocate,fsync,fdatasync,?rename,?renameat," +
	"?renameat2,?link,?linkat,?unlink,?unlinkat,?mkdir,?mkdirat,?accept,accept4"

// longest is how much of a write strace prints, in bytes.
const longest = 64 << 20

// A call is a system call of the server.
type call struct {
	name     string
	numbers  []int64  // the plain numbers among its arguments
	texts    [][]byte // the strings among its arguments
	raw      string   // all its arguments, of calls that open something
	result   int64
	returned bool // it did, before the server ended
	injected bool // strace returned 0 in its place
	file     *opened
}

// A step is the moment at which a call was entered, or had returned. The
// order of steps is true: strace holds each thread at both until it has noted
// it, so what one thread does because of another comes later.
type step struct {
	call *call
	done bool
}

// An opened file or connection.
type opened struct {
	path string // empty for a connection
	port int    // of the client, for a connection
	add  bool   // O_APPEND
	at   int64  // where write goes
}

// straced is a launch in which strace writes to out. Without strace the test
// is skipped.
func straced(t *testing.T, out string, more ...string) launch {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	try := exec.Command(path, "-f", "-o", os.DevNull, "-e", "trace=close", "true")
	if said, err := try.CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here: %v\n%s", err, said)
	}
	wrap := append([]string{path, "-f", "--seccomp-bpf", "-qq", "-s", strconv.Itoa(longest),
		"-e", "trace=" + traced, "-e", "signal=none"}, more...)
	return launch{wrap: append(wrap, "-o", out)}
}

// readTrace reads what strace wrote.
func readTrace(t *testing.T, path string) []step {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &traceParser{pending: map[string]*call{}, parts: map[string][]byte{},
		files: map[int64]*opened{}}
	for n, line := range bytes.Split(data, []byte("\n")) {
		if err := p.line(line); err != nil {
			t.Fatalf("strace line %d: %v: %.300s", n+1, err, line)
		}
	}
	return p.steps
}

type traceParser struct {
	steps   []step
	pending map[string]*call  // entered, by thread
	parts   map[string][]byte // what was printed of them
	files   map[int64]*opened // by descriptor
}

var (
	unfinished = []byte(" <unfinished ...>")
	resumed    = []byte("<... ")
)

// line takes one line of strace: "PID CALL(ARGUMENTS) = RESULT", or one half
// of it when another thread came between.
func (p *traceParser) line(line []byte) error {
	pid, rest, ok := bytes.Cut(line, []byte(" "))
	rest = bytes.TrimLeft(rest, " ")
	if !ok || len(rest) == 0 || rest[0] == '+' || rest[0] == '-' {
		return nil // the end of a thread, or a signal
	}
	thread := string(pid)
	if bytes.HasPrefix(rest, resumed) {
		_, tail, ok := bytes.Cut(rest, []byte(" resumed>"))
		c := p.pending[thread]
		if !ok || c == nil {
			return nil
		}
		delete(p.pending, thread)
		return p.leave(c, append(p.parts[thread], tail...), len(p.parts[thread]))
	}
	name, args, ok := bytes.Cut(rest, []byte("("))
	if !ok {
		return fmt.Errorf("no call")
	}
	c := &call{name: string(name)}
	// strace let go of the thread within a call: it has begun, if its name is
	// known, and nothing says that it has returned.
	if head, ok := bytes.CutSuffix(args, []byte("<detached ...>")); ok {
		if c.name != "???" {
			p.enter(c, head)
		}
		return nil
	}
	if head, ok := bytes.CutSuffix(args, unfinished); ok {
		p.pending[thread], p.parts[thread] = c, bytes.Clone(head)
		p.enter(c, head)
		return nil
	}
	p.enter(c, args)
	return p.leave(c, args, 0)
}

// enter notes that a call begins; args is what is printed of it so far.
func (p *traceParser) enter(c *call, args []byte) {
	c.numbers, c.texts = arguments(args)
	if len(c.numbers) > 0 {
		switch c.name {
		case "open", "openat", "openat2", "creat", "accept", "accept4":
		default:
			c.file = p.files[c.numbers[0]]
		}
	}
	p.steps = append(p.steps, step{c, false})
	if c.name == "close" && len(c.numbers) > 0 {
		delete(p.files, c.numbers[0]) // the number may be given again at once
	}
}

// leave notes that a call has returned. Of the arguments the first known
// bytes were seen by enter.
func (p *traceParser) leave(c *call, args []byte, known int) error {
	args, c.injected = bytes.CutSuffix(args, []byte(" (INJECTED)"))
	at := bytes.LastIndex(args, []byte(") "))
	if at < 0 {
		return fmt.Errorf("no end")
	}
	_, result, ok := bytes.Cut(args[at:], []byte("= "))
	if !ok {
		return fmt.Errorf("no result")
	}
	text, _, _ := strings.Cut(string(result), " ")
	if text == "?" {
		return nil // the server ended in it
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return err
	}
	c.result, c.returned = n, true
	if known > 0 && len(args[:at]) > known {
		c.numbers, c.texts = arguments(args[:at])
	}
	p.track(c, string(args[:at]))
	p.steps = append(p.steps, step{c, true})
	return nil
}

// track keeps the table of descriptors.
func (p *traceParser) track(c *call, args string) {
	if c.result < 0 {
		return
	}
	switch c.name {
	case "open", "openat", "openat2", "creat":
		c.raw = args
		c.file = &opened{path: filepath.Clean(string(c.texts[0])), add: strings.Contains(args, "O_APPEND")}
		p.files[c.result] = c.file
	case "accept", "accept4":
		c.file = &opened{}
		if _, after, ok := strings.Cut(args, "port=htons("); ok {
			digits, _, _ := strings.Cut(after, ")")
			c.file.port, _ = strconv.Atoi(digits)
		}
		p.files[c.result] = c.file
	case "dup", "dup2", "dup3":
		p.files[c.result] = c.file
	}
}

// arguments finds the plain numbers and the strings in what is printed of a
// call. Strings in structures count, numbers do not.
func arguments(args []byte) (numbers []int64, texts [][]byte) {
	for i := 0; i < len(args); {
		switch b := args[i]; {
		case b == '"':
			text, n := unquote(args[i:])
			texts = append(texts, text)
			i += n
		case b >= '0' && b <= '9' && (i == 0 || args[i-1] == ' ' || args[i-1] == '('):
			end := i
			for end < len(args) && args[end] != ',' && args[end] != ')' && args[end] != ' ' {
				end++
			}
			if n, err := strconv.ParseInt(string(args[i:end]), 0, 64); err == nil {
				numbers = append(numbers, n)
			}
			i = end
		default:
			i++
		}
	}
	return numbers, texts
}

// escapes are those of strace, besides octal numbers.
var escapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'v': '\v', 'f': '\f'}

// unquote undoes strace's quotes. It returns how many bytes they took.
func unquote(b []byte) (text []byte, n int) {
	text = make([]byte, 0, min(len(b), 128<<10))
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '"':
			return text, i + 1
		case b[i] != '\\' || i+1 == len(b):
			text = append(text, b[i])
		case b[i+1] >= '0' && b[i+1] <= '7':
			value := 0
			for n := 0; n < 3 && b[i+1] >= '0' && b[i+1] <= '7'; n++ {
				value = value<<3 | int(b[i+1]-'0')
				i++
			}
			text = append(text, byte(value))
		default:
			i++
			if e, ok := escapes[b[i]]; ok {
				text = append(text, e)
			} else {
				text = append(text, b[i])
			}
		}
	}
	return text, len(b)
}

// data is what a call writes.
func (c *call) data() []byte {
	if len(c.texts) == 1 {
		return c.texts[0]
	}
	return bytes.Join(c.texts, nil)
}

// writes says whether a call writes bytes.
func (c *call) writes() bool {
	switch c.name {
	case "write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg":
		return true
	}
	return false
}

// TestDetached reads what strace leaves of the calls in which it let go of a
// thread: a flush that has begun is not one that has been done.
func TestDetached(t *testing.T) {
	p := &traceParser{pending: map[string]*call{}, parts: map[string][]byte{},
		files: map[int64]*opened{}}
	for _, line := range []string{
		"12 ???( <detached ...>", "12  ???( <detached ...>", "12 fdatasync(7 <detached ...>",
	} {
		if err := p.line([]byte(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if len(p.steps) != 1 || p.steps[0].call.name != "fdatasync" || p.steps[0].done {
		t.Errorf("got %+v, want one fdatasync that has begun", p.steps)
	}
}

func TestUnquote(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`"plain"`, "plain"},
		{`"a\r\n\t\"\\b"`, "a\r\n\t\"\\b"},
		{`"\0\3771\0011\33x"`, "\x00\xff1\x011\x1bx"},
	} {
		got, n := unquote([]byte(c.in + ", 5"))
		if string(got) != c.want || n != len(c.in) {
			t.Errorf("unquote(%s) = %q, %d, want %q, %d", c.in, got, n, c.want, len(c.in))
		}
	}
}
