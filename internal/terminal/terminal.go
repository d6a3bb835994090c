// Package terminal is where a command meets a person or a program: what it
// prints, what it asks, and how it writes sizes, times and numbers so that
// people can read them and type them again.
//
// # Two readers
//
// An answer goes to standard output, as text or, where JSON is wanted, as one
// object or array on a line of its own. Everything else, such as questions and
// progress, goes to standard error, so that an answer can be piped.
//
// # A terminal or not
//
// A question is asked only where somebody can answer it: standard input and
// standard error are both terminals (Interactive). Progress is drawn over
// itself on a terminal, and printed as a line now and then elsewhere.
//
// # Text
//
// Table lines up columns, Fold breaks lines, and Size, Moment, Plural and YesNo
// write values; ParseSize, ParseAge and ParseTime read what people type. None
// of them knows whose values they are.
package terminal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A Terminal is the three streams of a command, and how its answers are
// wanted. Its methods are for one goroutine at a time.
type Terminal struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	JSON   bool // answers are for programs
	Quiet  bool // no progress
}

// WriteJSON writes v as JSON on one line.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Answer prints v if JSON is wanted, or else what text writes.
func (t *Terminal) Answer(v any, text func(w io.Writer)) error {
	if t.JSON {
		return WriteJSON(t.Stdout, v)
	}
	text(t.Stdout)
	return nil
}

// Say prints v if JSON is wanted, or else one sentence.
func (t *Terminal) Say(v any, format string, args ...any) error {
	return t.Answer(v, func(w io.Writer) { fmt.Fprintf(w, format+"\n", args...) })
}

// Watched says whether standard error is a terminal: somebody sees what
// happens while it happens.
func (t *Terminal) Watched() bool { return isTerminal(t.Stderr) }

// Interactive says whether somebody can be asked.
func (t *Terminal) Interactive() bool { return isTerminal(t.Stdin) && t.Watched() }

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Confirm asks a question and says whether the answer was yes. It is for an
// Interactive terminal.
func (t *Terminal) Confirm(question string) (bool, error) {
	fmt.Fprintf(t.Stderr, "%s [y/N] ", question)
	line, err := bufio.NewReader(t.Stdin).ReadString('\n')
	if err != nil && line == "" {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// errNoTerminal is what Secret says where nobody can type.
var errNoTerminal = errors.New("standard input is no terminal")

// Secret asks for a line that is not shown while it is typed. When ctx ends it
// returns its error, and the terminal shows again what is typed.
func (t *Terminal) Secret(ctx context.Context, prompt string) (string, error) {
	f, ok := t.Stdin.(*os.File)
	if !ok {
		return "", errNoTerminal
	}
	fd := int(f.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(t.Stderr, prompt)
	defer fmt.Fprintln(t.Stderr)
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		return string(a.text), a.err
	case <-ctx.Done(): // the reader ends with the program
		term.Restore(fd, state)
		return "", ctx.Err()
	}
}

// How often progress is shown: drawn anew for somebody who watches, else
// printed.
const (
	drawEvery  = 100 * time.Millisecond
	printEvery = 10 * time.Second
)

// Progress tells on standard error how far long work has come. The work calls
// show, from any goroutine, with what is counted and how many of it; total 0
// means unknown. end takes the last line away. With Quiet show is nil.
func (t *Terminal) Progress() (show func(what string, done, total int64), end func()) {
	if t.Quiet {
		return nil, func() {}
	}
	p := &progress{w: t.Stderr, drawn: t.Watched(), last: time.Now()}
	return p.show, p.end
}

type progress struct {
	w     io.Writer
	drawn bool // over itself, on a terminal

	mu    sync.Mutex
	last  time.Time // when something was shown
	width int       // of the line that stands there, in bytes
}

func (p *progress) show(what string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf("%s: %d", what, done)
	if total > 0 {
		text = fmt.Sprintf("%s: %d of %d (%d %%)", what, done, total, done*100/total)
	}
	now := time.Now()
	switch {
	case p.drawn && (now.Sub(p.last) > drawEvery || done == total):
		fmt.Fprintf(p.w, "\r%-*s", p.width, text)
		p.last, p.width = now, len(text)
	case !p.drawn && now.Sub(p.last) > printEvery:
		fmt.Fprintln(p.w, text)
		p.last = now
	}
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn && p.width > 0 {
		fmt.Fprintf(p.w, "\r%*s\r", p.width, "")
	}
}
