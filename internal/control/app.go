package control

import (
	"context"
	"fmt"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// An AppPassword is a password for one program or device of an account. The
// password itself is shown once, when it is made.
type AppPassword struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

func appPasswords(creds []store.Credential) []AppPassword {
	list := []AppPassword{}
	for _, cr := range creds {
		if cr.Kind == kindApp {
			list = append(list, AppPassword{Name: cr.Name, Created: cr.Created})
		}
	}
	return list
}

// AppPasswordRequest names an app password.
type AppPasswordRequest struct {
	Address string `json:"address"`
	Name    string `json:"name"`
}

// AppPasswordReply has the new password, which is shown once.
type AppPasswordReply struct {
	Address  string `json:"address"`
	Name     string `json:"name"`
	Password string `json:"password"`
}

// maxAppPasswords bounds those of one account: a login compares with each.
const maxAppPasswords = 100

func (c *Control) appPasswordAdd(ctx context.Context, q AppPasswordRequest) (
	AppPasswordReply, error) {
	var none AppPasswordReply
	fresh, password, err := c.passwords.MakeAppPassword(q.Name)
	if err != nil {
		return none, err
	}
	c.write.Lock()
	defer c.write.Unlock()
	a, creds, err := c.accountCredentials(ctx, q.Address)
	if err != nil {
		return none, err
	}
	apps := appPasswords(creds)
	if len(apps) >= maxAppPasswords {
		return none, mail.Errorf(mail.Conflict,
			fmt.Sprintf("%s has %d app passwords; remove one first", a.Address, len(apps)))
	}
	for _, app := range apps {
		if app.Name == fresh.Name {
			return none, mail.Errorf(mail.Exists,
				fmt.Sprintf("%s has an app password %q already", a.Address, Short(q.Name)))
		}
	}
	if err := c.writeCredentials(ctx, a, append(creds, fresh)); err != nil {
		return none, err
	}
	return AppPasswordReply{Address: a.Address.String(), Name: fresh.Name, Password: password}, nil
}

// AppPasswordListReply lists an account's app passwords.
type AppPasswordListReply struct {
	AppPasswords []AppPassword `json:"app_passwords"`
}

func (c *Control) appPasswordList(ctx context.Context, q AddressRequest) (
	AppPasswordListReply, error) {
	_, creds, err := c.accountCredentials(ctx, q.Address)
	return AppPasswordListReply{AppPasswords: appPasswords(creds)}, err
}

func (c *Control) appPasswordRemove(ctx context.Context, q AppPasswordRequest) (None, error) {
	c.write.Lock()
	defer c.write.Unlock()
	a, creds, err := c.accountCredentials(ctx, q.Address)
	if err != nil {
		return None{}, err
	}
	for i, cr := range creds {
		if cr.Kind == kindApp && cr.Name == q.Name {
			return None{}, c.writeCredentials(ctx, a, append(creds[:i:i], creds[i+1:]...))
		}
	}
	return None{}, mail.Errorf(mail.NotFound,
		fmt.Sprintf("%s has no app password %q", a.Address, Short(q.Name)))
}

func (c *Control) accountCredentials(ctx context.Context, address string) (
	*store.Account, []store.Credential, error) {
	a, err := c.account(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	creds, err := c.store.Credentials(ctx, a.ID)
	return a, creds, err
}

// writeCredentials replaces all credentials of an account.
func (c *Control) writeCredentials(ctx context.Context, a *store.Account,
	creds []store.Credential) error {
	row := c.changing(a)
	row.Version++
	w := store.AccountWrite{Account: row, Credentials: creds, Replace: true}
	return c.store.WriteAccounts(ctx, []store.AccountWrite{w})
}
