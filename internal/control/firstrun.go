package control

import (
	"context"

	"postrider/internal/mail"
)

// FirstDomain is the domain that a server has which nobody has set up.
const FirstDomain = "localhost"

// FirstRun gives a store without domains the domain localhost and the account
// postmaster there. It returns the account with its password, or nil if there
// was a domain already.
func (c *Control) FirstRun(ctx context.Context) (*AccountPasswordReply, error) {
	domains, err := c.store.Domains(ctx)
	if err != nil || len(domains) > 0 {
		return nil, err
	}
	if _, err := c.domainAdd(ctx, DomainRequest{Name: FirstDomain}); err != nil {
		return nil, err
	}
	account := AccountAddRequest{Address: "postmaster@" + FirstDomain}
	name := "Postmaster"
	account.FullName = &name
	r, err := c.accountAdd(ctx, account)
	if err != nil {
		// Without its account the domain would hide that this run was the first.
		if undo := c.store.RemoveDomain(ctx, FirstDomain); undo != nil {
			return nil, &mail.Error{Kind: mail.KindOf(err), Text: undo.Error(), Err: err}
		}
		return nil, err
	}
	return &r, nil
}
