package main

import (
	"context"
	"fmt"
	"io"

	"postrider/internal/control"
	"postrider/internal/terminal"
)

func (c *call) domainAdd(ctx context.Context) error {
	q := control.DomainRequest{Name: c.line.Arg(0), Main: c.opt.main}
	return do(ctx, c, control.DomainAdd, q, func(w io.Writer, r *control.DomainInfo) {
		fmt.Fprintf(w, "The domain %s is served here", r.Name)
		if r.Main {
			fmt.Fprint(w, " and is the main one")
		}
		fmt.Fprintln(w, ".")
	})
}

func (c *call) domainList(ctx context.Context) error {
	return c.with(ctx, func(s control.Caller) error {
		r, err := control.DomainList.Call(ctx, s, control.None{}, nil)
		if err != nil {
			return err
		}
		return c.Answer(r.Domains, func(w io.Writer) {
			rows := [][]string{{"DOMAIN", "MAIN", "ADDED"}}
			for _, d := range r.Domains {
				rows = append(rows, []string{d.Name, terminal.YesNo(d.Main), terminal.Moment(d.Created)})
			}
			terminal.Table(w, rows)
		})
	})
}

func (c *call) domainMain(ctx context.Context) error {
	return c.with(ctx, func(s control.Caller) error {
		q := control.DomainRequest{Name: c.line.Arg(0)}
		if _, err := control.DomainMain.Call(ctx, s, q, nil); err != nil {
			return err
		}
		return c.Say(q, "The main domain is %s now.", q.Name)
	})
}

func (c *call) domainRemove(ctx context.Context) error {
	return c.with(ctx, func(s control.Caller) error {
		q := control.DomainRequest{Name: c.line.Arg(0)}
		if _, err := control.DomainRemove.Call(ctx, s, q, nil); err != nil {
			return err
		}
		return c.Say(q, "The domain %s is not served any more.", q.Name)
	})
}
