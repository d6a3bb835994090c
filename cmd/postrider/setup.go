package main

import (
	"context"
	"net/netip"
	"os"

	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/setup"
)

func (c *call) setup(ctx context.Context) error {
	p, err := c.plan(ctx)
	if err != nil {
		return err
	}
	dir, err := makeDir(setup.Place(datadir.Usual(c.opt.data)))
	if err != nil {
		return err
	}
	p.Data, c.opt.data = dir.Path(), dir.Path()
	if !c.opt.noService && os.Geteuid() <= 0 { // on Windows it is -1
		if p.Service, err = setup.InstallService(ctx, dir, c.opt.user); err != nil {
			return err
		}
	}
	var r *setup.Report
	err = c.with(ctx, func(s control.Caller) error {
		r, err = p.Apply(ctx, s)
		return err
	})
	if err != nil {
		return err
	}
	return c.Answer(r, r.Print)
}

// plan gathers what the line says, and refuses what is wrong before anything
// is made.
func (c *call) plan(ctx context.Context) (*setup.Plan, error) {
	p := &setup.Plan{Domain: c.line.Arg(0), Host: c.opt.host, Listen: c.opt.addresses}
	for _, text := range c.opt.addresses {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, c.usage("--address %s: want an IP address", text)
		}
		p.Reached = append(p.Reached, a)
	}
	if len(p.Reached) == 0 {
		p.Reached = setup.PublicAddresses()
	}
	var err error
	if p.Password, err = c.password(ctx); err != nil {
		return nil, err
	}
	name, err := control.ParseDomain(p.Domain)
	if err != nil {
		return nil, c.refused(err)
	}
	host, err := setup.HostName(ctx, name, p.Host)
	if err != nil {
		return nil, c.usage("setup: --host %q: want the name of this server, such as mail.%s",
			host, name)
	}
	return p, nil
}
