package control

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"postrider/internal/auth"
	"postrider/internal/mail"
	"postrider/internal/settings"
	"postrider/internal/store"
)

// Passwords makes what is stored of passwords; *auth.Authenticator does.
type Passwords interface {
	MakeCredentials(ctx context.Context, password string, o auth.CredentialOptions) (
		[]store.Credential, error)
	MakeAppPassword(name string) (store.Credential, string, error)
}

// An AccountInfo is an account as people see it.
type AccountInfo struct {
	Address    string    `json:"address"`
	FullName   string    `json:"full_name"`
	Enabled    bool      `json:"enabled"`
	Login      bool      `json:"login"`
	QuotaBytes int64     `json:"quota_bytes"` // 0 is no limit
	APOP       string    `json:"apop"`        // "off", "allowed" or "required"
	Volume     int       `json:"volume"`
	Notify     string    `json:"notify"` // "none", "last-ip" or "ip:ADDRESS"
	Created    time.Time `json:"created"`
	Changed    time.Time `json:"changed"`
}

func accountInfo(a *store.Account) AccountInfo {
	notify := a.Notify
	if notify == "" {
		notify = "none"
	}
	return AccountInfo{
		Address:    a.Address.String(),
		FullName:   a.FullName,
		Enabled:    a.Enabled,
		Login:      a.Login,
		QuotaBytes: a.Quota,
		APOP:       apopNames[a.APOP],
		Volume:     a.Volume,
		Notify:     notify,
		Created:    a.Created,
		Changed:    a.Changed,
	}
}

var apopNames = map[store.APOPMode]string{
	store.APOPOff:      "off",
	store.APOPAllowed:  "allowed",
	store.APOPRequired: "required",
}

func parseAPOP(s string) (store.APOPMode, error) {
	for mode, name := range apopNames {
		if name == s {
			return mode, nil
		}
	}
	return 0, mail.Errorf(mail.Invalid, fmt.Sprintf("APOP %q: want off, allowed or required", Short(s)))
}

// AccountChange holds what an account can be given; nil leaves it as it is,
// or as it is by default for a new account.
type AccountChange struct {
	FullName   *string `json:"full_name,omitempty"`
	Enabled    *bool   `json:"enabled,omitempty"`
	Login      *bool   `json:"login,omitempty"`
	QuotaBytes *int64  `json:"quota_bytes,omitempty"` // 0 is no limit
	APOP       *string `json:"apop,omitempty"`        // "off", "allowed" or "required"
	Volume     *int    `json:"volume,omitempty"`
	Notify     *string `json:"notify,omitempty"` // "none", "last-ip" or "ip:ADDRESS"
}

// apply changes a row.
func (ch *AccountChange) apply(a *store.Account) error {
	set(&a.Enabled, ch.Enabled)
	set(&a.Login, ch.Login)
	set(&a.Volume, ch.Volume)
	if ch.FullName != nil {
		if strings.ContainsFunc(*ch.FullName, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return mail.Errorf(mail.Invalid, "the full name has a control character")
		}
		// What was no UTF-8 came here as the replacement character.
		if !utf8.ValidString(*ch.FullName) || strings.ContainsRune(*ch.FullName, utf8.RuneError) {
			return mail.Errorf(mail.Invalid, "the full name is not UTF-8")
		}
		a.FullName = *ch.FullName
	}
	if ch.QuotaBytes != nil {
		if *ch.QuotaBytes < 0 {
			return mail.Errorf(mail.Invalid, "the quota is negative; 0 means no limit")
		}
		a.Quota = *ch.QuotaBytes
	}
	if ch.APOP != nil {
		mode, err := parseAPOP(*ch.APOP)
		if err != nil {
			return err
		}
		a.APOP = mode
	}
	if ch.Notify != nil {
		notify, err := parseNotify(*ch.Notify)
		if err != nil {
			return err
		}
		a.Notify = notify
	}
	return nil
}

// apply changes a row, with a look at the settings.
func (c *Control) apply(ch *AccountChange, a *store.Account) error {
	volumes := len(c.settings.Current().List(settings.StoreVolumes))
	if ch.Volume != nil && (*ch.Volume < 0 || *ch.Volume >= volumes) {
		return mail.Errorf(mail.Invalid, fmt.Sprintf("there is no volume directory %d: "+
			"store.volumes names %d, counted from 0", *ch.Volume, volumes))
	}
	return ch.apply(a)
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// AccountAddRequest asks for a new account. Without a password one is made.
type AccountAddRequest struct {
	Address  string `json:"address"` // a bare local part means the main domain
	Password string `json:"password,omitempty"`
	AccountChange
}

// An AccountPasswordReply tells what became of an account. Password is set
// only when it was made here; it is shown once and kept nowhere.
type AccountPasswordReply struct {
	Address  string `json:"address"`
	Password string `json:"password,omitempty"`
	Note     string `json:"note,omitempty"`
}

func (c *Control) accountAdd(ctx context.Context, q AccountAddRequest) (
	AccountPasswordReply, error) {
	var none AccountPasswordReply
	addr, err := c.newAddress(ctx, q.Address)
	if err != nil {
		return none, err
	}
	a := c.newAccount(addr)
	if err := c.apply(&q.AccountChange, &a); err != nil {
		return none, err
	}
	password, made := q.Password, ""
	if password == "" {
		made = auth.RandomPassword()
		password = made
	}
	creds, err := c.passwords.MakeCredentials(ctx, password, auth.CredentialOptions{APOP: a.APOP})
	if err != nil {
		return none, err
	}
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.unused(ctx, addr); err != nil {
		return none, err
	}
	w := store.AccountWrite{Account: a, Credentials: creds, Replace: true}
	if err := c.store.WriteAccounts(ctx, []store.AccountWrite{w}); err != nil {
		return none, err
	}
	return AccountPasswordReply{Address: addr.String(), Password: made}, nil
}

// newAccount is an account with its defaults.
func (c *Control) newAccount(addr mail.Address) store.Account {
	now := c.now()
	return store.Account{
		Address: addr,
		Enabled: true,
		Login:   true,
		Quota:   c.settings.Current().Size(settings.QuotaDefault),
		Notify:  "none",
		Created: now,
		Changed: now,
	}
}

// unused says Exists if there is an account of that address.
func (c *Control) unused(ctx context.Context, addr mail.Address) error {
	_, err := c.store.Account(ctx, addr)
	switch {
	case err == nil:
		return mail.Errorf(mail.Exists, "the account "+addr.String()+" exists already")
	case mail.KindOf(err) == mail.NotFound:
		return nil
	default:
		return err
	}
}

// AccountListRequest selects accounts. They come by address; After goes on
// where an earlier list ended.
type AccountListRequest struct {
	Domain string `json:"domain,omitempty"` // all if empty
	After  string `json:"after,omitempty"`
	Limit  int    `json:"limit,omitempty"` // 0 means 500, which is the most
}

// listLimit is the most accounts in one reply.
const listLimit = 500

// AccountListReply is a part of the list; More says that it goes on.
type AccountListReply struct {
	Accounts []AccountInfo `json:"accounts"`
	More     bool          `json:"more"`
}

func (c *Control) accountList(ctx context.Context, q AccountListRequest) (AccountListReply, error) {
	limit := q.Limit
	if limit <= 0 || limit > listLimit {
		limit = listLimit
	}
	domain := q.Domain
	if domain != "" {
		var err error
		if domain, err = c.ownDomain(ctx, domain); err != nil {
			return AccountListReply{}, err
		}
	}
	rows, err := c.store.Accounts(ctx, domain, q.After, limit)
	if err != nil {
		return AccountListReply{}, err
	}
	r := AccountListReply{Accounts: make([]AccountInfo, 0, len(rows)), More: len(rows) == limit}
	for i := range rows {
		r.Accounts = append(r.Accounts, accountInfo(&rows[i]))
	}
	return r, nil
}

// An AddressRequest names one account; a bare local part means the main domain.
type AddressRequest struct {
	Address string `json:"address"`
}

// AccountShowReply is everything that people may know of an account.
type AccountShowReply struct {
	AccountInfo
	Messages     int64         `json:"messages"`
	UsedBytes    int64         `json:"used_bytes"`
	Password     bool          `json:"password"` // whether one is set
	APOPReady    bool          `json:"apop_ready"`
	AppPasswords []AppPassword `json:"app_passwords"`
}

func (c *Control) accountShow(ctx context.Context, q AddressRequest) (AccountShowReply, error) {
	var r AccountShowReply
	a, err := c.account(ctx, q.Address)
	if err != nil {
		return r, err
	}
	usage, err := c.store.Usage(ctx, a.ID)
	if err != nil {
		return r, err
	}
	creds, err := c.store.Credentials(ctx, a.ID)
	if err != nil {
		return r, err
	}
	r = AccountShowReply{AccountInfo: accountInfo(a), Messages: usage.Messages,
		UsedBytes: usage.Bytes, AppPasswords: appPasswords(creds)}
	for _, cr := range creds {
		r.Password = r.Password || cr.Kind == kindArgon2
		r.APOPReady = r.APOPReady || cr.Kind == kindAPOP
	}
	return r, nil
}

// The kinds of credentials that are told apart here; package auth makes them.
const (
	kindArgon2 = "argon2id"
	kindAPOP   = "apop"
	kindApp    = "app"
)

// AccountSetRequest changes an account.
type AccountSetRequest struct {
	Address string `json:"address"`
	AccountChange
}

// AccountSetReply shows the account as it is now.
type AccountSetReply struct {
	AccountInfo
	Note string `json:"note,omitempty"`
}

func (c *Control) accountSet(ctx context.Context, q AccountSetRequest) (AccountSetReply, error) {
	var r AccountSetReply
	c.write.Lock()
	defer c.write.Unlock()
	a, err := c.account(ctx, q.Address)
	if err != nil {
		return r, err
	}
	row := c.changing(a)
	if err := c.apply(&q.AccountChange, &row); err != nil {
		return r, err
	}
	raiseVersion(a, &row)
	w := store.AccountWrite{Account: row}
	if row.APOP != a.APOP {
		if r.Note, err = c.changeAPOP(ctx, &w); err != nil {
			return r, err
		}
	}
	if err := c.keepsPostmaster(ctx, []store.AccountWrite{w}); err != nil {
		return r, err
	}
	if err := c.store.WriteAccounts(ctx, []store.AccountWrite{w}); err != nil {
		return r, err
	}
	r.AccountInfo = accountInfo(&row)
	return r, nil
}

// changing copies an account for a change.
func (c *Control) changing(a *store.Account) store.Account {
	row := *a
	row.Changed = c.now()
	return row
}

// raiseVersion ends what was remembered of an account's logins if the right
// to log in, or a way to do so, has changed.
func raiseVersion(from, to *store.Account) {
	if from.Enabled != to.Enabled || from.Login != to.Login || from.APOP != to.APOP {
		to.Version = from.Version + 1
	}
}

// changeAPOP takes the recoverable secret away when APOP is switched off;
// when it is switched on, only the owner's next password can make one.
func (c *Control) changeAPOP(ctx context.Context, w *store.AccountWrite) (note string, err error) {
	creds, err := c.store.Credentials(ctx, w.Account.ID)
	if err != nil {
		return "", err
	}
	ready := false
	for _, cr := range creds {
		if cr.Kind == kindAPOP {
			ready = true
			if w.Account.APOP == store.APOPOff {
				continue
			}
		}
		w.Credentials = append(w.Credentials, cr)
	}
	w.Replace = true
	if w.Account.APOP != store.APOPOff && !ready {
		note = "set the password again: APOP works from then on"
	}
	return note, nil
}

// AccountPasswordRequest sets a password; an empty one is made.
type AccountPasswordRequest struct {
	Address  string `json:"address"`
	Password string `json:"password,omitempty"`
}

func (c *Control) accountPassword(ctx context.Context, q AccountPasswordRequest) (
	AccountPasswordReply, error) {
	var none AccountPasswordReply
	a, err := c.account(ctx, q.Address)
	if err != nil {
		return none, err
	}
	r := AccountPasswordReply{Address: a.Address.String()}
	password := q.Password
	if password == "" {
		r.Password = auth.RandomPassword()
		password = r.Password
	}
	fresh, err := c.passwords.MakeCredentials(ctx, password, auth.CredentialOptions{APOP: a.APOP})
	if err != nil {
		return none, err
	}
	c.write.Lock()
	defer c.write.Unlock()
	if a, err = c.account(ctx, q.Address); err != nil {
		return none, err
	}
	creds, apps, err := c.withApps(ctx, a.ID, fresh)
	if err != nil {
		return none, err
	}
	if apps > 0 {
		r.Note = fmt.Sprintf("%d app passwords stay as they are", apps)
	}
	return r, c.writeCredentials(ctx, a, creds)
}

// withApps adds an account's app passwords to fresh credentials.
func (c *Control) withApps(ctx context.Context, id mail.AccountID, fresh []store.Credential) (
	creds []store.Credential, apps int, err error) {
	old, err := c.store.Credentials(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	for _, cr := range old {
		if cr.Kind == kindApp {
			fresh = append(fresh, cr)
			apps++
		}
	}
	return fresh, apps, nil
}

// AccountRemoveReply tells what went with the account.
type AccountRemoveReply struct {
	Address  string `json:"address"`
	Messages int64  `json:"messages"`
}

func (c *Control) accountRemove(ctx context.Context, q AddressRequest) (AccountRemoveReply, error) {
	var r AccountRemoveReply
	c.write.Lock()
	defer c.write.Unlock()
	a, err := c.account(ctx, q.Address)
	if err != nil {
		return r, err
	}
	usage, err := c.store.Usage(ctx, a.ID)
	if err != nil {
		return r, err
	}
	w := store.AccountWrite{Account: *a, Remove: true}
	if err := c.keepsPostmaster(ctx, []store.AccountWrite{w}); err != nil {
		return r, err
	}
	if err := c.store.WriteAccounts(ctx, []store.AccountWrite{w}); err != nil {
		return r, err
	}
	return AccountRemoveReply{Address: a.Address.String(), Messages: usage.Messages}, nil
}
