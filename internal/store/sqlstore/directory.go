package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/staged"
)

// cachedEntries bounds the directory's cache of accounts.
const cachedEntries = 50_000

// A directory remembers accounts and domains that were looked up, so that a
// RCPT costs no query. Every committed change of an account or domain takes
// it out. Accounts handed out are shared and must not be changed.
type directory struct {
	s *Store

	mu      sync.RWMutex
	gen     uint64 // rises with every change; a look-up under way then is not kept
	byName  map[string]*store.Account
	byID    map[mail.AccountID]*store.Account
	domains map[string]store.Domain // nil: not read yet
	stmts   map[string]*sql.Stmt
}

func (d *directory) init(s *Store) {
	d.s = s
	d.stmts = map[string]*sql.Stmt{}
	d.clear()
}

func (d *directory) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gen++
	d.byName = map[string]*store.Account{}
	d.byID = map[mail.AccountID]*store.Account{}
	d.domains = nil
}

// forget drops one account.
func (d *directory) forget(id mail.AccountID, key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gen++
	if a := d.byID[id]; a != nil {
		delete(d.byName, a.Address.Key())
		delete(d.byID, id)
	}
	delete(d.byName, key)
}

// prepared gives a reading statement, prepared once. Queries are constants,
// so the map is bounded.
func (s *Store) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	d := &s.directory
	d.mu.RLock()
	st := d.stmts[query]
	d.mu.RUnlock()
	if st != nil {
		return st, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if st := d.stmts[query]; st != nil {
		return st, nil
	}
	st, err := s.read.PrepareContext(ctx, query)
	if err == nil {
		d.stmts[query] = st
	}
	return st, err
}

const accountColumns = `id, address, full_name, enabled, login, quota, apop, volume, version,
	notify, created, changed`

func scanAccount(row interface{ Scan(...any) error }) (*store.Account, error) {
	a := new(store.Account)
	var key string
	var created, changed int64
	err := row.Scan(&a.ID, &key, &a.FullName, &a.Enabled, &a.Login, &a.Quota, &a.APOP, &a.Volume,
		&a.Version, &a.Notify, &created, &changed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("no such account")
	}
	a.Address = addressOf(key)
	a.Created, a.Changed = time.UnixMicro(created), time.UnixMicro(changed)
	return a, err
}

// addressOf splits a key; a domain holds no @.
func addressOf(key string) mail.Address {
	at := strings.LastIndexByte(key, '@')
	if at < 0 {
		return mail.Address{Local: key}
	}
	return mail.Address{Local: key[:at], Domain: key[at+1:]}
}

// Account implements store.Store.
func (s *Store) Account(ctx context.Context, addr mail.Address) (*store.Account, error) {
	key := addr.Key()
	d := &s.directory
	d.mu.RLock()
	a, gen := d.byName[key], d.gen
	d.mu.RUnlock()
	if a != nil {
		return a, nil
	}
	st, err := s.prepared(ctx, `SELECT `+accountColumns+` FROM account WHERE address = $1`)
	if err != nil {
		return nil, err
	}
	if a, err = scanAccount(st.QueryRowContext(ctx, key)); err != nil {
		return nil, err
	}
	d.keep(a, gen)
	return a, nil
}

// account is Store.Account for the committer, which knows the number. It
// waits for no reader's connection. What the transaction itself may have
// written is not kept.
func (t *tx) account(s *Store, id mail.AccountID) (*store.Account, error) {
	d := &s.directory
	d.mu.RLock()
	a := d.byID[id]
	d.mu.RUnlock()
	if a != nil {
		return a, nil
	}
	return scanAccount(t.Row(`SELECT `+accountColumns+` FROM account WHERE id = $1`, int64(id)))
}

func (d *directory) keep(a *store.Account, gen uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gen != gen {
		return
	}
	if len(d.byID) >= cachedEntries {
		clear(d.byID)
		clear(d.byName)
	}
	d.byName[a.Address.Key()] = a
	d.byID[a.ID] = a
}

// served gives all domains by name.
func (s *Store) served(ctx context.Context) (map[string]store.Domain, error) {
	d := &s.directory
	d.mu.RLock()
	all, gen := d.domains, d.gen
	d.mu.RUnlock()
	if all != nil {
		return all, nil
	}
	list, err := s.Domains(ctx)
	if err != nil {
		return nil, err
	}
	all = make(map[string]store.Domain, len(list))
	for _, dom := range list {
		all[dom.Name] = dom
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gen == gen {
		d.domains = all
	}
	return all, nil
}

// IsLocal implements store.Store.
func (s *Store) IsLocal(ctx context.Context, domain string) (bool, error) {
	all, err := s.served(ctx)
	_, ok := all[domain]
	if !ok && err == nil {
		_, ok = all[strings.ToLower(domain)]
	}
	return ok, err
}

// MainDomain implements store.Store.
func (s *Store) MainDomain(ctx context.Context) (string, error) {
	all, err := s.served(ctx)
	for name, d := range all {
		if d.Main {
			return name, nil
		}
	}
	return "", err
}

// number is how a truth value is stored: engines differ in what else they
// take for an integer.
func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Domains implements store.Store.
func (s *Store) Domains(ctx context.Context) ([]store.Domain, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT name, main, created FROM domain ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []store.Domain
	for rows.Next() {
		var d store.Domain
		var created int64
		if err := rows.Scan(&d.Name, &d.Main, &created); err != nil {
			return nil, err
		}
		d.Created = time.UnixMicro(created)
		list = append(list, d)
	}
	return list, rows.Err()
}

// AddDomain implements store.Store. The first domain becomes the main one.
func (s *Store) AddDomain(_ context.Context, d store.Domain) error {
	return s.change(func(t *tx) error {
		var n, mains int
		err := t.Row(`SELECT count(*), coalesce((SELECT sum(main) FROM domain), 0) FROM domain
			WHERE name = $1`, d.Name).Scan(&n, &mains)
		if err != nil {
			return err
		}
		if n > 0 {
			return mail.Errorf(mail.Exists, fmt.Sprintf("the domain %s is there already", d.Name))
		}
		if d.Main && mains > 0 {
			if err := t.Exec(`UPDATE domain SET main = 0`); err != nil {
				return err
			}
		}
		return t.Exec(`INSERT INTO domain (name, main, created) VALUES ($1, $2, $3)`, d.Name,
			number(d.Main || mains == 0), t.Now.UnixMicro())
	})
}

// RemoveDomain implements store.Store.
func (s *Store) RemoveDomain(ctx context.Context, name string) error {
	var accounts, some int // all are counted for the text only, by a reader
	err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM account WHERE domain = $1`, name).
		Scan(&accounts)
	if err != nil {
		return err
	}
	return s.change(func(t *tx) error {
		if err := staged.Idle(t.Tx); err != nil {
			return err
		}
		err := t.Row(`SELECT count(*) FROM (SELECT 1 FROM account WHERE domain = $1 LIMIT 1) AS one`,
			name).Scan(&some)
		if err != nil {
			return err
		}
		if some > 0 {
			return mail.Errorf(mail.Conflict, fmt.Sprintf("the domain %s still has accounts (%d):"+
				" remove them first", name, max(accounts, some)))
		}
		n, err := t.Changed(`DELETE FROM domain WHERE name = $1`, name)
		if err == nil && n == 0 {
			err = notFound("no domain " + name)
		}
		return err
	})
}

// SetMainDomain implements store.Store.
func (s *Store) SetMainDomain(_ context.Context, name string) error {
	return s.change(func(t *tx) error {
		if err := t.Exec(`UPDATE domain SET main = 0 WHERE name <> $1`, name); err != nil {
			return err
		}
		n, err := t.Changed(`UPDATE domain SET main = 1 WHERE name = $1`, name)
		if err == nil && n == 0 {
			err = notFound("no domain " + name)
		}
		return err
	})
}

// change runs an administrative operation: durable, and out of the caches
// when committed.
func (s *Store) change(run func(*tx) error) error {
	return s.do(commit.InDatabase, false, func(t *tx) error {
		t.After(s.directory.clear)
		if err := t.nextGeneration(); err != nil {
			return err
		}
		return run(t)
	})
}

// Accounts implements store.Store.
func (s *Store) Accounts(ctx context.Context, domain, after string, limit int) (
	[]store.Account, error) {
	query := `SELECT ` + accountColumns + ` FROM account WHERE address > $1
		ORDER BY address LIMIT $2`
	args := []any{after, min(limit, maxRows)}
	if domain != "" {
		query = `SELECT ` + accountColumns + ` FROM account WHERE address > $1 AND domain = $3
			ORDER BY address LIMIT $2`
		args = append(args, domain)
	}
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []store.Account
	for rows.Next() {
		a, err := scanAccount(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, *a)
	}
	return list, rows.Err()
}

// Credentials implements store.Store.
func (s *Store) Credentials(ctx context.Context, id mail.AccountID) ([]store.Credential, error) {
	st, err := s.prepared(ctx, `SELECT kind, name, data, created FROM credential
		WHERE account = $1 ORDER BY kind, name`)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, int64(id))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []store.Credential
	for rows.Next() {
		var c store.Credential
		var created int64
		if err := rows.Scan(&c.Kind, &c.Name, &c.Data, &created); err != nil {
			return nil, err
		}
		c.Created = time.UnixMicro(created)
		list = append(list, c)
	}
	return list, rows.Err()
}

// Settings implements store.Store.
func (s *Store) Settings(ctx context.Context) (map[string]string, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT name, value FROM setting`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		all[name] = value
	}
	return all, rows.Err()
}

// WriteSettings implements store.Store.
func (s *Store) WriteSettings(_ context.Context, changes map[string]*string) error {
	return s.do(commit.InDatabase, false, func(t *tx) error {
		if err := t.nextGeneration(); err != nil {
			return err
		}
		for name, value := range changes {
			var err error
			if value == nil {
				err = t.Exec(`DELETE FROM setting WHERE name = $1`, name)
			} else {
				err = t.Exec(`INSERT INTO setting (name, value) VALUES ($1, $2)
					ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, *value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
