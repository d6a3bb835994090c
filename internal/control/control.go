// Package control has every administrative operation exactly once. The
// command line, through the control socket or directly, is a face of it, as
// web pages and an HTTP interface will be: what one can do the others can.
//
// An operation is a value of type Op with a name, a request and a reply,
// both plain structs with JSON names in snake_case. Operations lists them
// all. A Caller runs them: *Control here in this process, *Client in the
// process of a running server.
package control

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"postrider/internal/journal"
	"postrider/internal/mail"
	"postrider/internal/settings"
	"postrider/internal/store"
)

// Store is what the operations need of the store; package store says what
// each method does.
type Store interface {
	Domains(ctx context.Context) ([]store.Domain, error)
	AddDomain(ctx context.Context, d store.Domain) error
	RemoveDomain(ctx context.Context, name string) error
	SetMainDomain(ctx context.Context, name string) error
	MainDomain(ctx context.Context) (string, error)
	IsLocal(ctx context.Context, domain string) (bool, error)

	Account(ctx context.Context, a mail.Address) (*store.Account, error)
	Accounts(ctx context.Context, domain, after string, limit int) ([]store.Account, error)
	Credentials(ctx context.Context, id mail.AccountID) ([]store.Credential, error)
	WriteAccounts(ctx context.Context, w []store.AccountWrite) error
	Usage(ctx context.Context, id mail.AccountID) (store.Usage, error)

	Traces(ctx context.Context, q store.TraceQuery) ([]store.Trace, error)
	Check(ctx context.Context, repair bool, p store.Progress) ([]store.Problem, error)
}

// A Host is the running server around the operations.
type Host interface {
	// Status tells how the server is.
	Status(ctx context.Context) (ServerStatus, error)
	// Stop begins a graceful stop and returns at once.
	Stop()
	// Reload reads certificates and settings again. The notes say what
	// needs a restart.
	Reload(ctx context.Context) (notes []string, err error)
	// LogLevels lists the components that log, by name.
	LogLevels() []journal.ComponentLevel
	// SetLogLevel is Set of journal.Journal.
	SetLogLevel(component string, level int, until time.Time) error
}

// Config is what a Control works with.
type Config struct {
	Store     Store
	Passwords Passwords
	Settings  *settings.Registry
	Host      Host      // nil when no server runs
	Problems  []Problem // found while opening the store; check tells them
	// Secrets lists, and with repair takes away, what is stored sealed and
	// cannot be opened; nil looks for nothing. Accounts do not change meanwhile.
	Secrets func(ctx context.Context, repair bool) ([]Problem, error)
	Log     *slog.Logger     // nil logs nothing
	Now     func() time.Time // nil is time.Now
}

// A Control runs the operations. It may be used concurrently.
type Control struct {
	store     Store
	passwords Passwords
	settings  *settings.Registry
	host      Host
	problems  []Problem
	secrets   func(ctx context.Context, repair bool) ([]Problem, error)
	log       *slog.Logger
	now       func() time.Time

	// write is held by operations that read a row, change it and write it.
	write sync.Mutex
}

// New makes a Control.
func New(cfg Config) *Control {
	c := &Control{
		store:     cfg.Store,
		passwords: cfg.Passwords,
		settings:  cfg.Settings,
		host:      cfg.Host,
		problems:  cfg.Problems,
		secrets:   cfg.Secrets,
		log:       cfg.Log,
		now:       cfg.Now,
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c
}

// None is a request without parameters or a reply without content.
type None struct{}
