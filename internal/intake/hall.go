package intake

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/net/idna"

	"postrider/internal/blob"
	"postrider/internal/journal"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// A Store is the part of store.Store that the hall works with.
type Store interface {
	Account(ctx context.Context, a mail.Address) (*store.Account, error)
	IsLocal(ctx context.Context, domain string) (bool, error)
	MainDomain(ctx context.Context) (string, error)
	Domains(ctx context.Context) ([]store.Domain, error)
	Accounts(ctx context.Context, domain, after string, limit int) ([]store.Account, error)
	Usage(ctx context.Context, id mail.AccountID) (store.Usage, error)
	Deliver(ctx context.Context, d *store.Delivery) ([]store.Result, error)
	WriteTrace(t *store.Trace)
	Blobs() blob.Store
}

// Limits of a message; they may change while the hall is open.
type Limits struct {
	Size       int64 // bytes; 0 is none
	Recipients int   // of one transaction; 0 is none
	Hops       int   // Received fields; 0 is none
}

// A Config says what a hall works with.
type Config struct {
	Store    Store
	Hostname func() string // of the Received line
	Limits   func() Limits
	// Own says whether an address is this server's, besides loopback and
	// that of the connection; nil knows no others.
	Own func(netip.Addr) bool
	Log *slog.Logger     // nil discards
	Now func() time.Time // nil is time.Now
}

// A Hall receives every message. Its methods may be called concurrently.
type Hall struct {
	cfg    Config
	lastID atomic.Int64
}

var _ Receiver = (*Hall)(nil)

// New opens a hall.
func New(cfg Config) *Hall {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Limits == nil {
		cfg.Limits = func() Limits { return Limits{} }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Hall{cfg: cfg}
}

// nextID draws the id of a transaction: rising, short, unique while the
// server runs and, since it carries the time, afterwards.
func (h *Hall) nextID() string {
	now := h.cfg.Now().UnixMilli() << 8
	for {
		last := h.lastID.Load()
		id := max(now, last+1)
		if h.lastID.CompareAndSwap(last, id) {
			return mail.EmailID(id).String()[3:]
		}
	}
}

// From implements Receiver.
func (h *Hall) From(ctx context.Context, v *Visitor, from mail.Address, p mail.MailParams) (
	Transaction, error) {
	r := h.judgeSender(v, from, p)
	if r == nil {
		r = h.judgeUser(ctx, v)
	}
	path := from.String()
	if r != nil {
		if !h.refused(ctx, v, "return path refused", path, r) {
			return nil, r
		}
		h.cfg.Store.WriteTrace(&store.Trace{ID: h.nextID(), Time: h.cfg.Now(), Door: v.Door,
			Peer: peer(v), Helo: v.Helo, User: user(v), TLS: tlsFacts(v.TLS), From: path,
			Recipients: []store.TraceRecipient{{Outcome: outcome(r), Reason: r.Text}}})
		return nil, r
	}
	return &transaction{h: h, v: *v, id: h.nextID(), from: path, params: p}, nil
}

// judgeSender says why a return path is not taken, or nil.
func (h *Hall) judgeSender(v *Visitor, from mail.Address, p mail.MailParams) *mail.Reply {
	if lim := h.cfg.Limits().Size; lim > 0 && p.Size > lim {
		return tooBig(lim)
	}
	if v.Door == "submission" && v.User == nil {
		return mail.NewReply(530, "5.7.0", "authentication required")
	}
	// RFC 4865 section 3: a service of submission. A stranger could fill the
	// disk with what nobody sees.
	if !p.HoldUntil.IsZero() && v.User == nil {
		return mail.NewReply(555, "5.5.4", "only who has logged in may have a message held")
	}
	if from.IsZero() {
		return nil // RFC 5321 section 4.5.5: never refused
	}
	if from.Domain == "" {
		return mail.NewReply(553, "5.1.7", "the sender's address needs a domain")
	}
	// An authenticated sender may use only its own addresses.
	if v.User != nil && from.Key() != v.User.Address.Key() {
		return mail.NewReply(553, "5.7.1", fmt.Sprintf("%s may not send as %s", v.User.Address, from))
	}
	return nil
}

// judgeUser ends the rights of a login whose account was disabled, removed,
// or given another password since.
func (h *Hall) judgeUser(ctx context.Context, v *Visitor) *mail.Reply {
	if v.User == nil {
		return nil
	}
	a, err := h.cfg.Store.Account(ctx, v.User.Address)
	switch {
	case err != nil && mail.KindOf(err) != mail.NotFound:
		return trouble(err)
	case err != nil, a.ID != v.User.Account, a.Version != v.User.Version, !a.Enabled, !a.Login:
		return mail.NewReply(530, "5.7.0", "the login is no longer valid, authenticate again")
	}
	return nil
}

func tooBig(limit int64) *mail.Reply {
	return mail.NewReply(552, "5.3.4", fmt.Sprintf("the message is larger than %d bytes", limit))
}

// refused writes the record that every refusal gets, at most so many for one
// source, and tells whether it did: a trace is written only then.
func (h *Hall) refused(ctx context.Context, v *Visitor, what, address string,
	r *mail.Reply) (written bool) {
	attrs := []slog.Attr{slog.String("session", v.Session), slog.String("door", v.Door),
		slog.String("peer", peer(v)), slog.String("user", user(v)), slog.String("address", address),
		slog.Int("code", r.Code), slog.String("reason", r.Text)}
	if r.Err != nil { // trouble of ours: the peer is not told the cause
		attrs = append(attrs, slog.String("error", r.Err.Error()))
	}
	return journal.Refused(ctx, h.cfg.Log, v.Remote.Addr(), what, attrs...)
}

func user(v *Visitor) string {
	if v.User == nil {
		return ""
	}
	return v.User.Address.String()
}

func peer(v *Visitor) string {
	if !v.Remote.IsValid() {
		return ""
	}
	return v.Remote.Addr().String()
}

// local gives the address under which the directory knows a recipient, and
// whether its domain is served here. The decision is taken on the final
// address: routes in the local part lead nowhere but away from here.
func (h *Hall) local(ctx context.Context, v *Visitor, to mail.Address) (mail.Address, bool, error) {
	own := to.Domain == "" || h.isOwn(v, to)
	if own {
		main, err := h.cfg.Store.MainDomain(ctx)
		if err != nil || main == "" {
			return to, false, err
		}
		to.Domain = main
		return to, true, nil
	}
	// RFC 6531 section 3.2: a domain in UTF-8 is the one of its ASCII form.
	if !to.ASCII() {
		if ascii, err := idna.Lookup.ToASCII(to.Domain); err == nil {
			to.Domain = ascii
		}
	}
	ok, err := h.cfg.Store.IsLocal(ctx, to.Domain)
	return to, ok, err
}

// isOwn says whether a domain is this server's own IP address, in brackets
// or bare. Loopback is always ours.
func (h *Hall) isOwn(v *Visitor, to mail.Address) bool {
	ip, ok := to.Literal()
	if !ok {
		n := len(to.Domain) // 1.2.3.4 to 255.255.255.255
		if n < 7 || n > 15 || to.Domain[n-1] < '0' || to.Domain[n-1] > '9' {
			return false
		}
		var err error
		if ip, err = netip.ParseAddr(to.Domain); err != nil {
			return false
		}
	}
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsUnspecified() ||
		v.Local.IsValid() && ip == v.Local.Addr().Unmap() || h.cfg.Own != nil && h.cfg.Own(ip)
}
