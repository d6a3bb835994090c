// Bench measures a Postrider that it builds and starts itself: mail taken in,
// mail handed out, idle connections, the start. Beside it stand the disk's own
// flush rate, the load's own limit, and Postfix and Dovecot where they are
// installed; all of them take turns in each round.
//
// Run it with "go run ./bench"; -h lists what else it can do. It needs nothing
// but the Go tools, and root only for the other servers. It writes below a
// directory of its own, which it removes, and ends only what it has started.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A bench is one run of this program.
type bench struct {
	dir     string // everything is written below it
	program string // the Postrider that was built
	cell    time.Duration
	rounds  int
	conns   []int    // connections at a time
	sizes   []string // mixtures of messages
	peers   bool
	quiet   bool
	// What the big server holds.
	bigAccounts, bigMessages int

	report *report
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == sinkCommand {
		fatal(serveSink(os.Args[2]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	fatal(err)
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run does what the command line says.
func run(ctx context.Context) error {
	b := &bench{report: newReport(), conns: []int{1, 16, 64}, sizes: []string{small, mixed}}
	var parent string
	var asJSON bool
	var limit time.Duration
	flag.StringVar(&parent, "dir", ".", "`directory` on the disk to measure")
	flag.BoolVar(&asJSON, "json", false, "print one JSON object instead of tables")
	flag.BoolVar(&b.quiet, "quiet", false, "print no progress")
	flag.BoolVar(&b.peers, "peers", true, "measure Postfix and Dovecot too, where they are installed")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds of each measurement")
	flag.DurationVar(&b.cell, "time", 4*time.Second, "`duration` of each single measurement")
	flag.DurationVar(&limit, "timeout", time.Hour, "give up after this")
	flag.IntVar(&b.bigAccounts, "big-accounts", 100_000, "accounts of -big")
	flag.IntVar(&b.bigMessages, "big-messages", 1_000_000, "messages of -big")
	flag.Func("conns", "connections at a time, a `list` (default 1,16,64)", b.setConns)
	flag.Func("sizes", "mixtures of messages, a `list` (default 4k,mix)", b.setSizes)
	parts := b.parts()
	for _, p := range parts {
		flag.BoolVar(&p.wanted, p.name, p.usual, p.help)
	}
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	raiseOpenFiles(65536)
	if err := b.prepare(ctx, parent); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	failure := b.measure(ctx, parts)
	if asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(b.report); err != nil {
			return err
		}
	} else {
		b.report.print(os.Stdout)
	}
	return failure
}

func (b *bench) setConns(list string) error {
	b.conns = nil
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > userCount {
			return fmt.Errorf("want numbers from 1 to %d", userCount)
		}
		b.conns = append(b.conns, n)
	}
	return nil
}

func (b *bench) setSizes(list string) error {
	b.sizes = strings.Split(list, ",")
	for _, size := range b.sizes {
		if size != small && size != mixed {
			return fmt.Errorf("want %s, %s or both", small, mixed)
		}
	}
	return nil
}

// A part is one of the things that can be measured.
type part struct {
	name   string
	usual  bool // without being asked for
	wanted bool
	help   string
	each   bool // once in each round, else once
	run    func(ctx context.Context, round int) error
}

func (b *bench) parts() []*part {
	return []*part{
		{name: "ingest", usual: true, each: true, run: b.measureIngest,
			help: "measure mail taken in"},
		{name: "pop", usual: true, each: true, run: b.measurePOP,
			help: "measure mail handed out by POP3"},
		{name: "idle", usual: true, run: b.measureIdle,
			help: "measure the memory of 10 000 idle connections"},
		{name: "start", usual: true, run: b.measureStart, help: "measure the start"},
		{name: "huge", run: b.measureHuge, help: "send and fetch a message of 1 GB"},
		{name: "slow", run: b.measureSlow,
			help: "have one of 200 connections send a byte a second"},
		{name: "reader", run: b.measureReader,
			help: "have a slow reader hold a big download under full load"},
		{name: "big", run: b.measureBig,
			help: "compare a server of many accounts and messages with a fresh one (long)"},
	}
}

// prepare makes the directory and builds the program.
func (b *bench) prepare(ctx context.Context, parent string) error {
	made, err := os.MkdirTemp(parent, "bench-")
	if err != nil {
		return err
	}
	if b.dir, err = filepath.Abs(made); err == nil {
		// Other servers' users must get through.
		if err = os.Chmod(b.dir, 0o755); err == nil {
			b.progress("building")
			b.program, err = build(ctx, b.dir)
		}
	}
	if err != nil {
		os.RemoveAll(made)
	}
	return err
}

// measure runs the parts that are wanted. What fails does not keep the others
// from being measured, unless the time is over.
func (b *bench) measure(ctx context.Context, parts []*part) error {
	var failure error
	for _, p := range parts {
		if !p.wanted {
			continue
		}
		rounds := 1
		if p.each {
			rounds = b.rounds
		}
		for round := range rounds {
			if err := p.run(ctx, round+1); err != nil {
				failure = fmt.Errorf("%s: %w", p.name, err)
				b.note("%v", failure)
				break
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return failure
}

func (b *bench) progress(format string, args ...any) {
	if !b.quiet {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

func (b *bench) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	b.progress("%s", n)
	b.report.Notes = append(b.report.Notes, n)
}

func (b *bench) fact(name string, value float64, unit, note string) {
	b.report.Facts = append(b.report.Facts, fact{name, value, unit, note})
}

// discard stops a server and removes its data.
func (b *bench) discard(p *postrider) {
	p.stop()
	os.RemoveAll(filepath.Dir(p.dir))
}
