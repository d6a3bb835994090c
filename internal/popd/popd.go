package popd

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postrider/internal/auth"
	"postrider/internal/intake"
	"postrider/internal/link"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// MaxLine is what the listener's link.Limits.Line should be: room for a SASL
// response (RFC 4954 section 4 names 12288 octets). Commands are held to 255
// octets here.
const MaxLine = 12288

// A Store is what popd needs of store.Store.
type Store interface {
	Account(ctx context.Context, a mail.Address) (*store.Account, error)
	Entries(ctx context.Context, a mail.AccountID, id mail.MailboxID, after mail.UID,
		limit int) ([]store.Entry, error)
	Emails(ctx context.Context, a mail.AccountID, ids []mail.EmailID,
		parsed bool) ([]*store.Email, error)
	OpenEmail(e *store.Email) (store.MessageReader, error)
	Expunge(ctx context.Context, a mail.AccountID, id mail.MailboxID, uids []mail.UID) error
	Acquire(ctx context.Context, name, owner string, until time.Time) error
	Release(ctx context.Context, name, owner string) error
	Fetched(ctx context.Context, a mail.AccountID) (mail.UID, error)
	NoteFetched(a mail.AccountID, uid mail.UID)
}

// An Authenticator is what popd needs of package auth. Its errors are those
// of that package, or of any kind.
type Authenticator interface {
	// Plaintext says whether clear-text logins are allowed on the channel.
	Plaintext(c *auth.Channel) bool
	Password(ctx context.Context, c *auth.Channel, user, password string) (*auth.Identity, error)
	APOP(ctx context.Context, c *auth.Channel, user, timestamp,
		digest string) (*auth.Identity, error)
	// Mechanisms are those that Start takes on the channel.
	Mechanisms(c *auth.Channel) []string
	Start(c *auth.Channel, mechanism string) (auth.Exchange, error)
}

// A Composer takes what XTND XMIT sends; an intake.Receiver is one.
type Composer interface {
	Compose(ctx context.Context, v *intake.Visitor) (intake.Composition, error)
}

// Config says what a Server works with. Store and Auth must be set.
type Config struct {
	Store    Store
	Auth     Authenticator
	Composer Composer // nil: no XTND XMIT
	// Host is our name in the greeting's timestamp.
	Host string
	// NoAPOP leaves the timestamp out of the greeting, and so APOP away.
	NoAPOP bool
	// Version is shown in IMPLEMENTATION; empty shows none.
	Version string
	// Patience is how long a login waits for a maildrop that another session
	// has: a client that reconnects may be faster than the end of its last
	// session. 0 stands for a second; less is none.
	Patience time.Duration
	Limits   Limits
	Metrics  prometheus.Registerer // nil: none
	Log      *slog.Logger          // nil: none
	Now      func() time.Time      // nil is time.Now
}

// Limits of a session, and what else may change while it runs.
type Limits struct {
	// BadCommands is how many wrong commands and failed logins together end
	// a session; 0 is no limit.
	BadCommands int
	// FailedLogins is how many of them alone end a session; 0 stands for 3.
	FailedLogins int
	// LoginDelay is the time that must pass between two logins of an
	// account (RFC 2449 section 6.5), in whole seconds; 0 is none.
	LoginDelay time.Duration
	// Expire is what clients are told about how long mail is kept
	// (RFC 2449 section 6.7), in whole days; 0 is for ever.
	Expire time.Duration
	// NoXMIT switches XTND XMIT off.
	NoXMIT bool
}

// A Server makes the sessions of any number of listeners. It implements
// link.Handler. Its methods may be called concurrently.
type Server struct {
	cfg     Config
	limits  atomic.Pointer[Limits]
	metrics *metrics
	buffers sync.Pool // of *[bufferSize]byte
}

var _ link.Handler = (*Server)(nil)

// New makes a Server.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Patience == 0 {
		cfg.Patience = time.Second
	}
	if cfg.Host == "" {
		cfg.Host = "localhost"
	}
	srv := &Server{cfg: cfg, metrics: newMetrics(cfg.Metrics)}
	srv.buffers.New = func() any { return new([bufferSize]byte) }
	srv.SetLimits(cfg.Limits)
	return srv
}

// SetLimits changes the limits of all sessions, from the next command on.
func (srv *Server) SetLimits(l Limits) {
	if l.FailedLogins == 0 {
		l.FailedLogins = 3
	}
	srv.limits.Store(&l)
}

// Refuse says that there is no room for a session, for link.Config.Refuse.
func (srv *Server) Refuse(c *link.Conn, why link.Refusal) {
	text := "too many sessions"
	if why == link.TooManyFromAddress {
		text = "too many sessions from your address"
	}
	_, _ = c.WriteString("-ERR [SYS/TEMP] " + text + ", try again later\r\n")
}

// Open implements link.Handler: it greets.
func (srv *Server) Open(_ context.Context, c *link.Conn) link.Session {
	s := &session{srv: srv, conn: c, state: authorization}
	greeting := "+OK POP3 ready"
	if !srv.cfg.NoAPOP {
		s.stamp = srv.timestamp()
		greeting += " " + s.stamp
	}
	_, _ = c.WriteString(greeting + "\r\n")
	return s
}

// timestamp makes what an APOP digest begins with: a message id that is never
// the same again and that nobody can guess (RFC 1939 section 7).
func (srv *Server) timestamp() string {
	b := make([]byte, 0, 64)
	b = append(b, '<')
	b = append(b, rand.Text()[:16]...)
	b = append(b, '.')
	b = strconv.AppendInt(b, srv.cfg.Now().Unix(), 10)
	b = append(b, '@')
	b = append(b, srv.cfg.Host...)
	b = append(b, '>')
	return string(b)
}

// metrics counts what sessions do.
type metrics struct {
	logins   *prometheus.CounterVec
	messages prometheus.Counter
	octets   prometheus.Counter
	deleted  prometheus.Counter
	sent     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "postrider", Subsystem: "pop", Name: name, Help: help,
		})
	}
	m := &metrics{
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "postrider", Subsystem: "pop", Name: "logins_total",
			Help: "POP3 logins by result: ok, refused, in-use, delay, trouble.",
		}, []string{"result"}),
		messages: counter("messages_total", "Messages retrieved by POP3."),
		octets:   counter("octets_total", "Octets of messages retrieved by POP3."),
		deleted:  counter("deleted_total", "Messages deleted by POP3."),
		sent:     counter("sent_total", "Messages taken by XTND XMIT."),
	}
	if r != nil {
		r.MustRegister(m.logins, m.messages, m.octets, m.deleted, m.sent)
	}
	return m
}
