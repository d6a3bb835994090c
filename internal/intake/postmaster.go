package intake

import (
	"context"
	"strings"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// account finds who gets mail for an address of ours.
func (h *Hall) account(ctx context.Context, addr mail.Address) (*store.Account, error) {
	a, err := h.cfg.Store.Account(ctx, addr)
	if err == nil && a.Enabled || err != nil && mail.KindOf(err) != mail.NotFound ||
		!strings.EqualFold(addr.Local, "postmaster") {
		return a, err
	}
	stand, failure := h.postmaster(ctx)
	if stand == nil && failure == nil {
		return a, err
	}
	return stand, failure
}

// postmaster finds who stands in where a domain has no postmaster of its own.
// RFC 5321 section 4.5.1: each domain served must have one. It is that of the
// main domain, else of any domain, else the first account; nil if nobody is
// enabled. Its quota holds for this mail too: a mailbox that anybody could
// fill without end would be worse than one that is full for a while.
func (h *Hall) postmaster(ctx context.Context) (*store.Account, error) {
	domains, err := h.cfg.Store.Domains(ctx)
	if err != nil {
		return nil, err
	}
	var first *store.Account
	for _, d := range domains {
		a, err := h.cfg.Store.Account(ctx, mail.Address{Local: "postmaster", Domain: d.Name})
		switch {
		case err != nil && mail.KindOf(err) != mail.NotFound:
			return nil, err
		case err != nil || !a.Enabled:
		case d.Main:
			return a, nil
		case first == nil:
			first = a
		}
	}
	if first != nil {
		return first, nil
	}
	return h.firstAccount(ctx)
}

// firstAccount is the first by address that is enabled, or nil.
func (h *Hall) firstAccount(ctx context.Context) (*store.Account, error) {
	const page = 100
	for after := ""; ; {
		accounts, err := h.cfg.Store.Accounts(ctx, "", after, page)
		if err != nil {
			return nil, err
		}
		for i := range accounts {
			if accounts[i].Enabled {
				return &accounts[i], nil
			}
		}
		if len(accounts) < page {
			return nil, nil
		}
		after = accounts[page-1].Address.Key()
	}
}
