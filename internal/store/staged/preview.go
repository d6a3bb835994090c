package staged

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"unicode/utf8"

	"postrider/internal/mail"
	"postrider/internal/store"
)

const (
	newQuery = `SELECT (SELECT count(*) FROM account WHERE address = $1),
		(SELECT count(*) FROM domain WHERE name = $2)`
	knownQuery = `SELECT address FROM account WHERE id = $1`
)

// Free says why there can be no new account with an address: kind Exists, or
// NotFound for its domain. Row asks the database.
func Free(a mail.Address, row func(query string, args ...any) *sql.Row) error {
	var n, domains int
	if err := row(newQuery, a.Key(), a.Domain).Scan(&n, &domains); err != nil {
		return err
	}
	return free(a, n, domains)
}

func free(a mail.Address, accounts, domains int) error {
	switch {
	case accounts > 0:
		return mail.Errorf(mail.Exists, "the account "+a.Key()+" is there already")
	case domains == 0:
		return mail.Errorf(mail.NotFound, fmt.Sprintf(
			"the domain %s is not served here: add it first", a.Domain))
	}
	return nil
}

// A preview finds out whether a list of changes can be made, before any of
// them is. It asks readers only, since nobody else changes accounts.
type preview struct {
	added, known *sql.Stmt      // newQuery, knownQuery
	accounts     map[string]int // of an address that the list itself takes or frees
	gone         map[mail.AccountID]bool
}

// check has the errors that carrying the list out would have.
func (g *Stage) check(ctx context.Context, writes []store.AccountWrite) (err error) {
	p := &preview{accounts: map[string]int{}, gone: map[mail.AccountID]bool{}}
	if p.added, err = g.cfg.Read.PrepareContext(ctx, newQuery); err != nil {
		return err
	}
	defer p.added.Close()
	if p.known, err = g.cfg.Read.PrepareContext(ctx, knownQuery); err != nil {
		return err
	}
	defer p.known.Close()
	for i := range writes {
		if err := p.check(ctx, &writes[i]); err != nil {
			return fmt.Errorf("account %s: %w", writes[i].Account.Address, err)
		}
	}
	return nil
}

func (p *preview) check(ctx context.Context, w *store.AccountWrite) error {
	if err := sound(w); err != nil {
		return err
	}
	if w.Account.ID == 0 && !w.Remove {
		return p.checkNew(ctx, w.Account.Address)
	}
	return p.checkKnown(ctx, w)
}

func (p *preview) checkNew(ctx context.Context, a mail.Address) error {
	var n, domains int
	key := a.Key()
	if err := p.added.QueryRowContext(ctx, key, a.Domain).Scan(&n, &domains); err != nil {
		return err
	}
	if listed, ok := p.accounts[key]; ok {
		n = listed
	}
	p.accounts[key] = 1
	return free(a, n, domains)
}

func (p *preview) checkKnown(ctx context.Context, w *store.AccountWrite) error {
	var key string
	err := p.known.QueryRowContext(ctx, int64(w.Account.ID)).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) || p.gone[w.Account.ID] {
		return mail.Errorf(mail.NotFound, "no such account")
	}
	if err == nil && w.Remove {
		p.gone[w.Account.ID], p.accounts[key] = true, 0
	}
	return err
}

// sound refuses what JSON would change or the tables not take: a change that
// fails after the decision would fail for ever.
func sound(w *store.AccountWrite) error {
	a := &w.Account
	texts := []string{a.Address.Local, a.Address.Domain, a.FullName, a.Notify}
	names := map[[2]string]bool{}
	for _, c := range w.Credentials {
		name := [2]string{c.Kind, c.Name}
		if names[name] || c.Data == nil {
			return mail.Errorf(mail.Invalid, "a credential is there twice, or empty")
		}
		names[name] = true
		texts = append(texts, c.Kind, c.Name)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return mail.Errorf(mail.Invalid, "a name is not UTF-8")
		}
	}
	return nil
}
