// Package golden plays dialogues of line protocols from text files against a
// server and compares every line, so that a test reads like what goes over
// the wire. It is for tests only.
//
// A file is one dialogue. Each of its lines is one step:
//
//	# comment                  ignored, like an empty line
//	setup KEY VALUE            handed to the test before the server starts
//	C: text                    send text and CRLF
//	C-raw: "…"                 send the bytes of the Go string, nothing else
//	C-fill: N "…"              send the bytes of the Go string N times
//	C-eof                      end sending, go on reading
//	C-close                    break the connection off
//	S: text                    the next line must be exactly text and CRLF
//	S-raw: "…"                 the next bytes must be exactly these
//	S-skip: text               pass over lines up to one that is text
//	S-eof                      the server must end the connection
//	tls                        make the TLS handshake now; no certificate is verified
//	let NAME FUNC ARG…         compute a value: base64, md5, or what Server.Let knows
//	do WORD…                   let the test change the world, see Server.Do
//	wait DURATION              be slow, as some clients are; not for waiting on the server
//
// In S, S-skip and the arguments of let, <any> stands for one character or
// more, and <$name> for a value: the first time that an S line shows it, it
// takes what is there, afterwards it must be the same; in C and let it is put
// in. Arguments of let, do and setup are separated by spaces; one that begins
// with a double quote is a Go string.
//
// There can be several connections: 2C: and 2S: speak on the second one, and
// so on. A connection is opened at its first step. At the end of the file
// those still open are ended by the client, and a server that then still has
// something to say fails the test, as does one that never lets go.
//
// Every read is bounded by ReadLimit. A failure names file and line, what
// came and what was wanted, and shows the dialogue so far. With the flag
// -update the S lines are rewritten to what the server says; lines that match
// keep their wildcards.
package golden

import (
	"context"
	"crypto/tls"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ReadLimit bounds each wait for the server. It is long, for machines under
// load: only a failing test waits so long.
const ReadLimit = 15 * time.Second

var update = flag.Bool("update", false, "rewrite the S lines of golden transcripts")

// A Server is what a transcript talks to.
type Server struct {
	// Address is where to connect, by TCP.
	Address string
	// Dial replaces the connection to Address when it is set.
	Dial func(ctx context.Context) (net.Conn, error)
	// Let computes the value of a let step that is not built in.
	Let func(c Call) (string, error)
	// Do performs a do step: it delivers a message, disables an account,
	// stops the server.
	Do func(words []string) error
}

// A Call is a let step: a function and its arguments.
type Call struct {
	Func string
	Args []string
	TLS  *tls.ConnectionState // of the connection in question; nil without TLS
}

// A Setup is the setup lines of a transcript, in order.
type Setup []Setting

// A Setting is one setup line. Value is the rest of the line as it stands.
type Setting struct {
	Key   string
	Value string
	Line  int
}

// Value is that of the last line with key, or otherwise.
func (s Setup) Value(key, otherwise string) string {
	for _, v := range s {
		if v.Key == key {
			otherwise = v.Value
		}
	}
	return otherwise
}

// Words splits the value into its arguments.
func (s Setting) Words() ([]string, error) { return words(s.Value) }

// Run plays each file that the pattern names as a parallel subtest. For each
// of them start makes a server, which it stops in a t.Cleanup.
func Run(t *testing.T, pattern string, start func(t *testing.T, s Setup) Server) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts match %s (%v)", pattern, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Play(t, file, start)
		})
	}
}

// Play plays one file.
func Play(t *testing.T, file string, start func(t *testing.T, s Setup) Server) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := parse(file, string(text))
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer(sc, start(t, sc.setup))
	p.updating = *update
	defer p.closeAll()
	if err := p.play(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := p.rewritten(); *update && out != string(text) {
		if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s rewritten", file)
	}
}
