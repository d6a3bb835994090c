package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"postrider/internal/control"
	"postrider/internal/mail"
	"postrider/internal/terminal"
)

func (c *call) check(ctx context.Context) error {
	return c.with(ctx, func(s control.Caller) error {
		p, end := c.Progress()
		r, err := control.Check.Call(ctx, s, control.CheckRequest{Repair: c.opt.repair}, p)
		end()
		if err != nil {
			return err
		}
		if err := c.Answer(r, func(w io.Writer) { printProblems(w, &r) }); err != nil {
			return err
		}
		if r.Damaged == 0 {
			return nil
		}
		text := terminal.Plural(int64(r.Damaged), "problem was found", "problems were found")
		if !c.opt.repair {
			text += "; \"postrider check --repair\" mends what can be mended"
		}
		return mail.Errorf(mail.Damaged, text)
	})
}

func printProblems(w io.Writer, r *control.CheckReply) {
	for _, p := range r.Problems {
		what := p.What
		if p.Repaired {
			what += " (mended)"
		}
		fmt.Fprintf(w, "%s: %s\n", p.Where, what)
	}
	if len(r.Problems) == 0 {
		fmt.Fprintln(w, "Everything is sound.")
	}
}

func (c *call) trace(ctx context.Context) error {
	if c.opt.limit < 1 {
		return c.usage("trace: --limit %d: want a number from 1 on", c.opt.limit)
	}
	if strings.TrimSpace(c.line.Arg(0)) == "" {
		return c.usage("trace: an id or an address is missing")
	}
	q := control.TraceRequest{Limit: c.opt.limit}
	if strings.Contains(c.line.Arg(0), "@") {
		q.Address = c.line.Arg(0)
	} else {
		q.ID = c.line.Arg(0)
	}
	if c.line.Given["since"] {
		since, ok := terminal.ParseTime(c.opt.since, time.Now())
		if !ok {
			return c.usage("--since %s: want a time before now such as 2h or 3d, or a date "+
				"such as 2026-03-01", c.opt.since)
		}
		q.Since = since.Format(time.RFC3339)
	}
	return c.with(ctx, func(s control.Caller) error {
		r, err := control.Trace.Call(ctx, s, q, nil)
		if err != nil && q.ID != "" && mail.KindOf(err) == mail.NotFound {
			// It may be the bare name of an account: no mail of it is no trace
			// of that id either.
			q.ID, q.Address = "", q.ID
			byName, failed := control.Trace.Call(ctx, s, q, nil)
			if failed == nil && len(byName.Traces) > 0 {
				r, err = byName, nil
			}
		}
		if err != nil {
			return err
		}
		return c.Answer(r.Traces, func(w io.Writer) {
			if len(r.Traces) == 0 {
				fmt.Fprintf(w, "There is no trace of mail from or to %s.\n", q.Address)
			}
			for i, t := range r.Traces {
				if i > 0 {
					fmt.Fprintln(w)
				}
				fmt.Fprintf(w, "%s  %s\n  %s\n", terminal.Moment(t.Time), t.ID,
					strings.Join(t.Story, "\n  "))
			}
			if r.More && !c.Quiet {
				fmt.Fprintf(c.Stderr, "These are the newest %d; --limit N shows more, "+
					"--since fewer.\n", len(r.Traces))
			}
		})
	})
}
