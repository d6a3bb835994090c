package smtpd

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"postrider/internal/auth"
	"postrider/internal/intake"
	"postrider/internal/link"
	"postrider/internal/mail"
	"postrider/internal/wire/smtp"
)

// A Mode is the protocol that a Server speaks.
type Mode uint8

// The modes.
const (
	SMTP       Mode = iota // port 25, from anybody
	Submission             // ports 587 and 465, from users
	LMTP                   // from a mail transfer agent beside us
)

// String is the name of the door, as in intake.Visitor.
func (m Mode) String() string {
	switch m {
	case Submission:
		return "submission"
	case LMTP:
		return "lmtp"
	}
	return "smtp"
}

// An Authenticator runs logins. Its methods may be called concurrently.
type Authenticator interface {
	// Mechanisms lists what may be used on this channel, best first. Those
	// that show the password are not among them where that is not allowed.
	Mechanisms(ch *auth.Channel) []string
	// Start begins an exchange. Its errors, and those of the exchange, are
	// the failures that package auth names.
	Start(ch *auth.Channel, mechanism string) (auth.Exchange, error)
}

// Limits bound what one session may do. Those of time and of the number of
// sessions are link.Limits; link.Limits.Line must be smtp.MaxLine.
type Limits struct {
	MessageSize     int64 // bytes of a message; 0 is none
	Recipients      int   // of a message; RFC 5321 wants 100 at least
	Messages        int   // begun in a session (MAILMAX of RFC 9422); 0 is none
	Commands        int   // in a session; 0 is none
	Errors          int   // refused commands in a session, but of LMTP; 0 is none
	Unknown         int   // commands in a session that are none; 0 is none
	AuthAttempts    int   // failed logins in a session; 0 is none
	SessionsPerUser int   // sessions logged in as one account; 0 is none
}

// DefaultLimits are those of a server that nobody has configured.
func DefaultLimits() Limits {
	return Limits{
		MessageSize:     50 << 20,
		Recipients:      1000,
		Commands:        100_000,
		Errors:          50,
		Unknown:         10,
		AuthAttempts:    5,
		SessionsPerUser: 50,
	}
}

// DefaultMaxHold is Config.MaxHold where none is given.
const DefaultMaxHold = 30 * 24 * time.Hour

// Config says what a Server is. Hostname and Hall must be set.
type Config struct {
	Mode     Mode
	Hostname string // of greeting and EHLO
	Hall     intake.Receiver
	Auth     Authenticator // nil: no logins
	Limits   Limits        // Recipients 0 means all of DefaultLimits

	// Queue says that there is a queue that keeps what the parameters of
	// DSN and FUTURERELEASE ask for, so that they are announced. They are
	// parsed and handed to the hall in any case.
	Queue   bool
	MaxHold time.Duration // longest HOLDFOR and HOLDUNTIL

	Log     *slog.Logger // nil: none
	Metrics *Metrics     // nil: none; servers may share one
	Now     func() time.Time
}

// A Server makes the sessions of one door. It is a link.Handler.
type Server struct {
	cfg      Config
	log      *slog.Logger
	limits   atomic.Pointer[Limits]
	count    counters
	rules    smtp.MailRules
	greeting *mail.Reply

	mu    sync.Mutex // guards users
	users map[mail.AccountID]int
}

var _ link.Handler = (*Server)(nil)

// New makes a server.
func New(cfg Config) *Server {
	if cfg.Limits.Recipients == 0 {
		cfg.Limits = DefaultLimits()
	}
	if cfg.MaxHold == 0 {
		cfg.MaxHold = DefaultMaxHold
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	s := &Server{
		cfg:   cfg,
		log:   cfg.Log,
		count: cfg.Metrics.door(cfg.Mode.String()),
		rules: smtp.MailRules{MaxHold: cfg.MaxHold, Now: cfg.Now},
		users: make(map[mail.AccountID]int),
	}
	protocol := "ESMTP"
	if cfg.Mode == LMTP {
		protocol = "LMTP"
	}
	s.greeting = mail.NewReply(220, "", cfg.Hostname+" "+protocol+" Postrider")
	s.SetLimits(cfg.Limits)
	return s
}

// SetLimits changes the limits, of running sessions too.
func (s *Server) SetLimits(l Limits) { s.limits.Store(&l) }

// Open greets a new connection.
func (s *Server) Open(_ context.Context, c *link.Conn) link.Session {
	ss := &session{srv: s, conn: c, phase: fresh}
	ss.visitor.Door = s.cfg.Mode.String()
	ss.visitor.Session = c.ID()
	ss.visitor.Remote = c.Remote()
	ss.visitor.Local = c.Local()
	ss.visitor.TLS = c.TLS()
	s.count.sessions.Inc()
	if ss.enabled(slog.LevelDebug) {
		ss.debug("session open", slog.String("remote", ss.visitor.Remote.String()),
			slog.Bool("tls", ss.visitor.TLS != nil))
	}
	ss.write(s.greeting)
	return ss
}

// Refuse tells a connection that there is no room for it. It is made for
// link.Config.Refuse.
func (s *Server) Refuse(c *link.Conn, why link.Refusal) {
	r := replyFull
	if why == link.TooManyFromAddress {
		r = replyFullAddress
	}
	s.count.reply(r.Code)
	c.Write(smtp.AppendReply(c.AvailableBuffer(), r))
}

// join counts a session of a user and reports whether there was room.
func (s *Server) join(id mail.AccountID) bool {
	limit := s.limits.Load().SessionsPerUser
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit > 0 && s.users[id] >= limit {
		return false
	}
	s.users[id]++
	return true
}

func (s *Server) leave(id mail.AccountID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[id]--; s.users[id] <= 0 {
		delete(s.users, id)
	}
}
