package engine

import (
	"context"
	"fmt"

	"postrider/internal/auth"
	"postrider/internal/control"
	"postrider/internal/mail"
	"postrider/internal/store"
)

func lostKey(path string) error {
	return mail.Errorf(mail.Damaged, path+" is missing: without it the passwords of accounts with "+
		"APOP, and metrics.token, cannot be read again. Put the file back from your backup; or accept "+
		"the loss: \"postrider check --repair\" makes a new key and lists what has to be set anew")
}

// accountPage is how many accounts are looked at at a time.
const accountPage = 500

// Secrets lists what is stored sealed and the key does not open: settings,
// and the passwords of accounts with APOP. A repair takes it away, so that
// it is seen to be missing. No account must be changed meanwhile.
func (e *Engine) Secrets(ctx context.Context, repair bool) ([]control.Problem, error) {
	var list []control.Problem
	for _, name := range e.Settings.Sealed() {
		p := control.Problem{Where: name, What: "the setting cannot be opened with this " +
			"secret.key: reset it, or set it anew"}
		if repair {
			if _, err := e.Settings.Reset(ctx, name); err != nil {
				return list, err
			}
			p.Repaired = true
			p.What = "the setting could not be opened with this secret.key and was reset: set it anew"
		}
		list = append(list, p)
	}
	for after := ""; ; {
		page, err := e.Store.Accounts(ctx, "", after, accountPage)
		if err != nil || len(page) == 0 {
			return list, err
		}
		for i := range page {
			after = page[i].Address.Key()
			p, err := e.accountSecret(ctx, &page[i], repair)
			if err != nil {
				return list, err
			}
			if p != nil {
				list = append(list, *p)
			}
		}
	}
}

// accountSecret looks at one account; nil if there is nothing to say.
func (e *Engine) accountSecret(ctx context.Context, a *store.Account, repair bool) (
	*control.Problem, error) {
	if a.APOP == store.APOPOff {
		return nil, nil // nobody asks for what it may have
	}
	credentials, err := e.Store.Credentials(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	opened := auth.Openable(credentials, e.Key)
	if len(opened) == len(credentials) {
		return nil, nil
	}
	p := &control.Problem{Where: "account " + a.Address.String(), Repaired: repair,
		What: "the password for APOP cannot be opened with this secret.key: set the password anew"}
	if !repair {
		return p, nil
	}
	p.What = "the password for APOP could not be opened with this secret.key and was taken away: " +
		"set the password anew"
	err = e.Store.WriteAccounts(ctx, []store.AccountWrite{
		{Account: *a, Credentials: opened, Replace: true}})
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", a.Address, err)
	}
	return p, nil
}
