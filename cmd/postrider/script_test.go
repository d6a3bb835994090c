package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"io/fs"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"postrider/internal/auth"
	"postrider/internal/certs"
	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/engine"
)

var update = flag.Bool("update", false, "write the expected output of scripts anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"postrider": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"data":     makeData,
			"status":   wantStatus,
			"waitfor":  waitFor,
			"sendmail": sendMail,
			"damage":   damage,
			"inuse":    inUse,
			"selfmade": selfMade,
			"latin1":   writeLatin1,
		},
	})
}

// makeData is "data DIR": a data directory as a first run leaves it.
func makeData(ts *testscript.TestScript, _ bool, args []string) {
	dir, _, err := datadir.Make(ts.MkAbs(args[0]))
	ts.Check(err)
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Config{Dir: dir, Quiet: true})
	ts.Check(err)
	a := auth.New(e.Auth())
	_, err = e.Control(a, nil, nil).FirstRun(ctx)
	ts.Check(err)
	ts.Check(e.Close())
}

// wantStatus is "status N ARG...": runs postrider, which must exit with N.
func wantStatus(ts *testscript.TestScript, _ bool, args []string) {
	var stdin *os.File
	got := run(context.Background(), withData(ts, args[1:]), stdin, ts.Stdout(), ts.Stderr())
	if want := args[0]; want != string(rune('0'+got)) {
		ts.Fatalf("postrider %v: exit status %d, want %s", args[1:], got, want)
	}
}

func withData(ts *testscript.TestScript, args []string) []string {
	return append([]string{"--data", ts.MkAbs("d")}, args...)
}

// waitFor is "waitfor FILE": the file exists when it returns.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear", path)
}

// inUse is "inuse DIR": a first run of a server in DIR whose port is in use.
func inUse(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer ln.Close()
	if ts.Exec("postrider", "serve", "--data", args[0], "--set", "smtp.listen=127.0.0.1:0",
		"--set", "submission.listen=", "--set", "submissions.listen=", "--set", "pops.listen=",
		"--set", "pop.listen="+ln.Addr().String()) == nil {
		ts.Fatalf("the server has started")
	}
}

// selfMade is "selfmade FILE": a certificate with its key in FILE.
func selfMade(ts *testscript.TestScript, _ bool, args []string) {
	_, err := certs.Open(certs.Config{SelfMade: ts.MkAbs(args[0])})
	ts.Check(err)
}

// writeLatin1 is "latin1 FILE": a table that is not UTF-8.
func writeLatin1(ts *testscript.TestScript, _ bool, args []string) {
	table := "UserName\tFullName\nuser07\tM\xfcller\n"
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(table), 0o600))
}

// sendMail is "sendmail ADDRESS": a message by SMTP to the running server. It
// is no failure if the recipient is refused.
func sendMail(ts *testscript.TestScript, _ bool, args []string) {
	var out, errs bytes.Buffer
	ts.Logf("sendmail %s", args[0])
	if status := run(context.Background(), withData(ts, []string{"status", "--json"}), nil, &out,
		&errs); status != 0 {
		ts.Fatalf("status: %s", &errs)
	}
	var s control.ServerStatus
	ts.Check(json.Unmarshal(out.Bytes(), &s))
	for _, l := range s.Listeners {
		if l.Service != "smtp" {
			continue
		}
		text := "Subject: hello\r\nMessage-ID: <1@example.net>\r\n\r\nIt works.\r\n"
		ts.Logf("sent: %v", deliver(l.Address, args[0], text))
		return
	}
	ts.Fatalf("the server has no SMTP listener")
}

// deliver sends a message without TLS.
func deliver(address, to, text string) error {
	c, err := smtp.Dial(address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Mail("sender@example.net"); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// damage is "damage DIR": changes a byte of each message in the files there.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	err := filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if at := bytes.Index(data, []byte("It works.")); err == nil && at >= 0 {
			data[at] ^= 0xff
			err = os.WriteFile(path, data, 0o600)
		}
		return err
	})
	ts.Check(err)
}
