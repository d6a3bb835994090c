package terminal

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnswer(t *testing.T) {
	value := map[string]string{"name": "<a&b>"}
	text := func(w io.Writer) { io.WriteString(w, "It is a.\n") }
	for _, tt := range []struct {
		name string
		json bool
		do   func(*Terminal) error
		want string
	}{
		{"text", false, func(c *Terminal) error { return c.Answer(value, text) }, "It is a.\n"},
		{"JSON", true, func(c *Terminal) error { return c.Answer(value, text) },
			`{"name":"<a&b>"}` + "\n"},
		{"a sentence", false, func(c *Terminal) error { return c.Say(value, "%d of %s.", 1, "a") },
			"1 of a.\n"},
		{"instead of a sentence", true, func(c *Terminal) error { return c.Say(value, "one") },
			`{"name":"<a&b>"}` + "\n"},
	} {
		var out, errs bytes.Buffer
		c := &Terminal{Stdout: &out, Stderr: &errs, JSON: tt.json}
		if err := tt.do(c); err != nil || out.String() != tt.want || errs.Len() > 0 {
			t.Errorf("%s: got %q, %v, want %q", tt.name, out.String(), err, tt.want)
		}
	}
}

// Where nobody watches, progress is a line each ten seconds.
func TestProgressPrinted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs bytes.Buffer
		c := &Terminal{Stderr: &errs}
		show, end := c.Progress()
		show("messages", 1, 3)
		time.Sleep(11 * time.Second)
		show("messages", 2, 3)
		show("messages", 3, 3)
		time.Sleep(11 * time.Second)
		show("volumes", 7, 0)
		end()
		if want := "messages: 2 of 3 (66 %)\nvolumes: 7\n"; errs.String() != want {
			t.Errorf("got %q, want %q", errs.String(), want)
		}
	})
}

// On a terminal it is drawn over itself, ten times a second and at the end,
// and taken away.
func TestProgressDrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		p := &progress{w: &b, drawn: true, last: time.Now()}
		p.show("a", 100, 0)
		time.Sleep(101 * time.Millisecond)
		p.show("a", 200, 0)
		p.show("a", 300, 0)
		p.show("a", 9, 9)
		time.Sleep(time.Second)
		p.show("b", 1, 0)
		p.end()
		want := "\ra: 200\ra: 9 of 9 (100 %)\rb: 1" + strings.Repeat(" ", 13) + "\r    \r"
		if b.String() != want {
			t.Errorf("got %q, want %q", b.String(), want)
		}
	})
}

func TestProgressQuiet(t *testing.T) {
	show, end := (&Terminal{Quiet: true}).Progress()
	if end(); show != nil {
		t.Errorf("quiet, and it shows progress")
	}
}

// What is no terminal is not asked for a secret.
func TestNoTerminal(t *testing.T) {
	var errs bytes.Buffer
	c := &Terminal{Stdin: strings.NewReader("secret\n"), Stderr: &errs}
	if c.Interactive() || c.Watched() {
		t.Errorf("a text is taken for a terminal")
	}
	if _, err := c.Secret(t.Context(), "? "); !errors.Is(err, errNoTerminal) || errs.Len() > 0 {
		t.Errorf("got %v and %q, want %v", err, errs.String(), errNoTerminal)
	}
}

func TestConfirm(t *testing.T) {
	for _, tt := range []struct {
		typed string
		want  bool
		err   error
	}{
		{"y\n", true, nil}, {" YES \n", true, nil}, {"yes", true, nil}, {"\n", false, nil},
		{"no\n", false, nil}, {"yesterday\n", false, nil}, {"", false, io.EOF},
	} {
		var errs bytes.Buffer
		c := &Terminal{Stdin: strings.NewReader(tt.typed), Stderr: &errs}
		got, err := c.Confirm("Really?")
		if got != tt.want || err != tt.err || errs.String() != "Really? [y/N] " {
			t.Errorf("%q: got %v, %v and %q, want %v, %v", tt.typed, got, err, errs.String(), tt.want,
				tt.err)
		}
	}
}
