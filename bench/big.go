package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// bigBytes is the size of each message that a big server holds.
const bigBytes = 2 << 10

// prepareTime bounds how long a big server is filled.
const prepareTime = 30 * time.Minute

// measureBig compares a server of many accounts and messages with a fresh
// one, under the same load in turns.
func (b *bench) measureBig(ctx context.Context, _ int) error {
	b.progress("big: importing %d accounts", b.bigAccounts)
	dir := filepath.Join(b.dir, "big")
	big, err := newPostrider(ctx, b.program, dir)
	if err != nil {
		return err
	}
	defer b.discard(big)
	began := time.Now()
	if err := big.accounts(ctx, b.bigAccounts); err != nil {
		return err
	}
	b.fact("import of accounts", float64(b.bigAccounts)/time.Since(began).Seconds(), "/s",
		fmt.Sprintf("%d accounts, %d of them with a password", b.bigAccounts, userCount))
	fresh, err := newPostrider(ctx, b.program, filepath.Join(b.dir, "fresh"))
	if err != nil {
		return err
	}
	defer b.discard(fresh)
	b.progress("big: storing %d messages", b.bigMessages)
	l := &load{addr: big.smtp, letters: newLetterboxOf(bigBytes), conns: 64, duration: prepareTime,
		messages: b.bigMessages, users: b.bigAccounts}
	o := l.run(ctx)
	if o.done == 0 {
		return fmt.Errorf("nothing was stored: %w", o.firstErr)
	}
	if o.done < b.bigMessages {
		b.note("only %d messages stored in %v: %v", o.done, prepareTime, o.firstErr)
	}
	b.fact("filling the big server", float64(o.done)/o.took.Seconds(), "/s",
		fmt.Sprintf("%d messages of 2 kB, p99 %.1f ms", o.done, milliseconds(o.percentile(99))))
	var rates [2][]float64
	for round := range b.rounds {
		for i, p := range []*postrider{fresh, big} {
			b.progress("big: round %d", round+1)
			l := &load{letters: newLetterbox(small), conns: 64, duration: b.cell}
			s, err := deliver(ctx, &p.process, l, small, round+1)
			if err != nil {
				return err
			}
			rates[i] = append(rates[i], s.Rate)
		}
	}
	b.fact("4k at 64 connections, fresh server", median(rates[0]), "/s", "")
	b.fact("4k at 64 connections, big server", median(rates[1]), "/s",
		fmt.Sprintf("%.2f of the fresh one", median(rates[1])/max(1, median(rates[0]))))
	return ctx.Err()
}
