package golden

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A parrot is a server that says what it is told to say.
type parrot struct {
	greeting string
	cert     tls.Certificate

	mu   sync.Mutex
	mood string
}

func startParrot(t *testing.T, s Setup) Server {
	p := &parrot{greeting: s.Value("greeting", "hi"), cert: certificate(t)}
	for _, v := range s {
		if v.Key == "mood" {
			w, err := v.Words()
			if err != nil || len(w) != 1 {
				t.Fatalf("line %d: %q, %v", v.Line, w, err)
			}
			p.mood = w[0]
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	return Server{Address: l.Addr().String(), Let: p.let, Do: p.do}
}

func (p *parrot) let(c Call) (string, error) {
	switch c.Func {
	case "upper":
		return strings.ToUpper(c.Args[0]), nil
	case "tls":
		if c.TLS != nil {
			return "yes", nil
		}
		return "no", nil
	}
	return "", fmt.Errorf("no such function: %s", c.Func)
}

func (p *parrot) do(words []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mood = words[1]
	return nil
}

func (p *parrot) serve(c net.Conn) {
	defer func() { c.Close() }()
	in := bufio.NewReader(c)
	fmt.Fprintf(c, "%s %d\r\n", p.greeting, time.Now().UnixNano())
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch verb {
		case "say":
			fmt.Fprintf(c, "%s\r\n", rest)
		case "lf":
			fmt.Fprintf(c, "%s\n", rest)
		case "mood":
			p.mu.Lock()
			fmt.Fprintf(c, "%s\r\n", p.mood)
			p.mu.Unlock()
		case "tls":
			fmt.Fprint(c, "go ahead\r\n")
			tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{p.cert}})
			c, in = tc, bufio.NewReader(tc)
		case "quit":
			fmt.Fprint(c, "bye\r\n")
			return
		}
	}
}

func certificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestRun(t *testing.T) { Run(t, "testdata/*.txt", startParrot) }

// Each of these dialogues is wrong; the failure must say where and how.
func TestFailures(t *testing.T) {
	for _, tc := range []struct{ name, script, want string }{
		{"other text", "S: hi <any>\nC: say a\nS: b", "x:3: S: b\ngot  a\nwant b\n"},
		{"no CR", "S: hi <any>\nC: lf a\nS: a", `got  "a\n"`},
		{"one line too few", "S: hi <any>\nC: say a\nS: a\nS: b", "got  nothing, then silence"},
		{"one line too many", "S: hi <any>\nC: say a", "x:2: end\ngot  a\n"},
		{"ends early", "S: hi <any>\nC: quit\nS: bye\nS: more", "then the end of the connection"},
		{"does not end", "S: hi <any>\nS-eof", "want the end of the connection"},
		{"talks before the end", "S: hi <any>\nC: quit\nS-eof", "got  bye\n"},
		{"other bytes", "S: hi <any>\nC: say a\nS-raw: \"b\\r\\n\"", `got  "a\r\n"`},
		{"value changed", "S: hi <$n>\nC: say 1\nS: <$n>", "got  1\n"},
		{"value unknown", "C: <$n>", "<$n> has no value yet"},
		{"empty wildcard", "S: hi <any>\nC: say a\nS: a<any>", "got  a\n"},
		{"bad Go string", `C-raw: "abc`, "not a Go string"},
		{"unknown function", "let a b", "no such function: b"},
		{"text before TLS", "S: hi <any>\nC: say a\nC: tls\nC: say b\nS: a\ntls", "ake"},
		{"the dialogue", "S: hi <any>\nC: say a\nS: b", "1 C: say a\n    1 S: a\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sc, err := parse("x", tc.script)
			if err != nil {
				t.Fatal(err)
			}
			p := newPlayer(sc, startParrot(t, nil))
			p.limit = 200 * time.Millisecond
			err = p.play(t.Context())
			p.closeAll()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v\nwant an error with %q", err, tc.want)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	in := strings.Join([]string{
		"S: hi <any>", "", "C: say a", "C: say b", "S: wrong", "# note", "C: say c", "S: <$c>",
		"S: surplus", "C: lf x", "2S: hi <any>", "2C: say other", "C: quit", "",
	}, "\n")
	want := strings.Join([]string{
		"S: hi <any>", "", "C: say a", "C: say b", "S: a", "S: b", "# note", "C: say c", "S: <$c>",
		"C: lf x", `S-raw: "x\n"`, "2S: hi <any>", "2C: say other", "2S: other",
		"C: quit", "S: bye", "S-eof", "",
	}, "\n")
	sc, err := parse("x", in)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer(sc, startParrot(t, nil))
	p.updating, p.limit, p.quiet = true, time.Second, 100*time.Millisecond
	if err := p.play(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.closeAll()
	if d := cmp.Diff(want, p.rewritten()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestUpdateKeepsWhatMatches(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "all.txt"))
	if err != nil {
		t.Fatal(err)
	}
	sc, err := parse("all.txt", string(text))
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer(sc, startParrot(t, sc.setup))
	p.updating, p.quiet = true, 100*time.Millisecond
	if err := p.play(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.closeAll()
	if d := cmp.Diff(string(text), p.rewritten()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"hello", "X: y", "0C: x", "C", " C: x", "tlsx"} {
		if _, err := parse("x", "# fine\n"+bad); err == nil ||
			!strings.HasPrefix(err.Error(), "x:2: not a step") {
			t.Errorf("%q: got %v, want not a step", bad, err)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	got, err := words(` a  "b \x00" c"d `)
	if d := cmp.Diff([]string{"a", "b \x00", `c"d`}, got); d != "" || err != nil {
		t.Errorf("%v -want +got\n%s", err, d)
	}
	if _, err := words(`"a`); err == nil {
		t.Error(`"a: got no error`)
	}
}
