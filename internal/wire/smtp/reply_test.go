package smtp

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/mail"
)

func TestAppendReply(t *testing.T) {
	tests := []struct {
		name  string
		reply mail.Reply
		want  string
	}{
		{"plain", mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "ok"}, "250 2.0.0 ok\r\n"},
		{"without enhanced code", mail.Reply{Code: 220, Text: "mx"}, "220 mx\r\n"},
		{"empty", mail.Reply{Code: 334}, "334 \r\n"},
		{"lines", mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "no\nand no"},
			"550-5.7.1 no\r\n550 5.7.1 and no\r\n"},
		{"no injection", mail.Reply{Code: 250, Text: "a\rb\x00c"}, "250 a b c\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := string(AppendReply([]byte("x"), &tt.reply))
			if got != "x"+tt.want {
				t.Errorf("got  %q\nwant %q", got, "x"+tt.want)
			}
		})
	}
	buf := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() { AppendReply(buf, &tests[0].reply) }); n > 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func TestReadReply(t *testing.T) {
	tests := []struct {
		name, in string
		want     *mail.Reply
		err      error
	}{
		{"plain", "250 2.1.0 ok\r\n", mail.NewReply(250, "2.1.0", "ok"), nil},
		{"code only", "250\r\n", mail.NewReply(250, "", ""), nil},
		{"LF", "250 ok\n", mail.NewReply(250, "", "ok"), nil},
		{"lines", "550-5.7.1 no\r\n550 5.7.1 never\r\n", mail.NewReply(550, "5.7.1", "no\nnever"), nil},
		{"EHLO", "250-mx\r\n250-SIZE 10\r\n250 HELP\r\n",
			mail.NewReply(250, "", "mx\nSIZE 10\nHELP"), nil},
		{"wrong class", "550 2.1.0 x\r\n", mail.NewReply(550, "", "2.1.0 x"), nil},
		{"version is no code", "220 2.1.0.4 x\r\n", mail.NewReply(220, "", "2.1.0.4 x"), nil},
		{"codes differ", "250-a\r\n251 b\r\n", nil, ErrReply},
		{"no code", "hello\r\n", nil, ErrReply},
		{"code out of range", "650 x\r\n", nil, ErrReply},
		{"bad separator", "250:x\r\n", nil, ErrReply},
		{"cut", "250-a\r\n250 b", nil, io.ErrUnexpectedEOF},
		{"nothing", "", nil, io.EOF},
		{"long line", "250 " + strings.Repeat("x", MaxReply) + "\r\n", nil, ErrReply},
		{"many lines", strings.Repeat("250-x\r\n", MaxReplyLines+1), nil, ErrReply},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadReply(bufio.NewReaderSize(strings.NewReader(tt.in), MaxReply))
			if !errors.Is(err, tt.err) {
				t.Fatalf("got error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What a server writes, a client reads.
func FuzzReply(f *testing.F) {
	f.Add("250-5.1.1 x\r\n250 y\r\n")
	f.Add("421 4.3.2 bye\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ReadReply(bufio.NewReaderSize(strings.NewReader(s), MaxReply))
		if err != nil {
			return
		}
		wire := string(AppendReply(nil, r))
		again, err := ReadReply(bufio.NewReaderSize(strings.NewReader(wire), 2*MaxReply))
		if err != nil {
			if len(wire) > MaxReply {
				return
			}
			t.Fatalf("%q: %v", wire, err)
		}
		if again.Code != r.Code || strings.Count(again.Text, "\n") != strings.Count(r.Text, "\n") {
			t.Fatalf("got %+v\nwant %+v", again, r)
		}
	})
}
