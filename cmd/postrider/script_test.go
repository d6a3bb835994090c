package main

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"postrider/internal/auth"
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
			"data":    makeData,
			"status":  wantStatus,
			"waitfor": waitFor,
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
