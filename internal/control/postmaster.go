package control

import (
	"context"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// keepsPostmaster says Conflict if these writes take away the last enabled
// account named postmaster. RFC 5321 section 4.5.1 wants mail for it to be
// taken, and somebody should read it. The caller holds the lock of writers.
func (c *Control) keepsPostmaster(ctx context.Context, writes []store.AccountWrite) error {
	stays := map[mail.Address]bool{} // what is written of postmasters
	for i := range writes {
		if a := &writes[i].Account; a.Address.Local == postmaster {
			stays[a.Address] = a.Enabled && !writes[i].Remove
		}
	}
	if len(stays) == 0 {
		return nil
	}
	domains, err := c.store.Domains(ctx)
	if err != nil {
		return err
	}
	lost := mail.Address{}
	for _, d := range domains {
		addr := mail.Address{Local: postmaster, Domain: d.Name}
		a, err := c.store.Account(ctx, addr)
		if err != nil && mail.KindOf(err) != mail.NotFound {
			return err
		}
		before := err == nil && a.Enabled
		after, written := stays[addr]
		switch {
		case after || before && !written:
			return nil
		case before:
			lost = addr
		}
	}
	if lost.Domain == "" {
		return nil
	}
	return mail.Errorf(mail.Conflict, lost.String()+" is the last account for the mail that every "+
		"server must take for its postmaster (RFC 5321): make another one first, as in "+
		"\"account add postmaster@DOMAIN\"")
}

const postmaster = "postmaster"
