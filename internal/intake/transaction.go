package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/message"
	"postrider/internal/store"
)

// A transaction implements Transaction.
type transaction struct {
	h          *Hall
	v          Visitor
	id         string
	from       mail.Address
	params     mail.MailParams
	recipients []recipient
	refusals   []store.TraceRecipient // of RCPT; at most maxRefusals
	draft      blob.Draft
	err        *mail.Reply // sticky, from Write
	done       bool
}

// A recipient was accepted by RCPT.
type recipient struct {
	to      mail.Address // as the sender wrote it
	account *store.Account
	params  mail.RcptParams
	same    int // index of an earlier recipient with this account, or its own
}

// maxRefusals bounds what a trace tells of refused recipients.
const maxRefusals = 20

// Rcpt implements Transaction.
func (t *transaction) Rcpt(ctx context.Context, to mail.Address, p mail.RcptParams) error {
	a, r := t.route(ctx, to)
	if r != nil {
		t.h.refused(ctx, &t.v, "recipient refused", to.String(), r)
		if len(t.refusals) < maxRefusals {
			t.refusals = append(t.refusals, store.TraceRecipient{Address: to.String(),
				Outcome: outcome(r), Reason: r.Text})
		}
		return r
	}
	same := len(t.recipients)
	for i := range t.recipients {
		if t.recipients[i].account.ID == a.ID {
			same = i
			break
		}
	}
	t.recipients = append(t.recipients, recipient{to, a, p, same})
	return nil
}

func outcome(r *mail.Reply) string {
	if r.Temporary() {
		return "deferred"
	}
	return "refused"
}

// route finds the account of a recipient, or says why there is none.
func (t *transaction) route(ctx context.Context, to mail.Address) (*store.Account, *mail.Reply) {
	if lim := t.h.cfg.Limits().Recipients; lim > 0 && len(t.recipients) >= lim {
		return nil, mail.NewReply(452, "4.5.3", fmt.Sprintf("No more than %d recipients", lim))
	}
	addr, local, err := t.h.local(ctx, &t.v, to)
	switch {
	case err != nil:
		return nil, trouble(err)
	case !local && t.v.User != nil:
		return nil, mail.NewReply(550, "5.3.3",
			"This server does not send to other domains yet: only local recipients")
	case !local:
		return nil, mail.NewReply(550, "5.7.1", "Relaying denied: "+to.Domain+" is not served here")
	}
	a, err := t.h.cfg.Store.Account(ctx, addr)
	switch {
	case mail.KindOf(err) == mail.NotFound && strings.ContainsAny(to.Local, "%!@"):
		return nil, mail.NewReply(550, "5.7.1", "Relaying denied: routes in addresses lead nowhere")
	case mail.KindOf(err) == mail.NotFound:
		return nil, mail.NewReply(550, "5.1.1", "No such user here: "+to.String())
	case err != nil:
		return nil, trouble(err)
	case !a.Enabled:
		return nil, mail.NewReply(550, "5.2.1", "The mailbox of "+to.String()+" is disabled")
	}
	return a, t.room(ctx, a, t.params.Size)
}

// room says whether an account has room for so many bytes.
func (t *transaction) room(ctx context.Context, a *store.Account, size int64) *mail.Reply {
	if a.Quota <= 0 {
		return nil
	}
	u, err := t.h.cfg.Store.Usage(ctx, a.ID)
	if err != nil {
		return trouble(err)
	}
	if u.Bytes >= a.Quota || u.Bytes+size > a.Quota {
		return overQuota()
	}
	return nil
}

func overQuota() *mail.Reply { return mail.NewReply(452, "4.2.2", "The mailbox is full") }

// trouble is the reply to a failure of ours.
func trouble(err error) *mail.Reply {
	if r, ok := errors.AsType[*mail.Reply](err); ok {
		return r
	}
	r := mail.NewReply(451, "4.3.0", "Temporary trouble, try again later")
	if mail.KindOf(err) == mail.Full {
		r = mail.NewReply(452, "4.3.1", "Not enough room now, try again later")
	}
	r.Err = err
	return r
}

// Open implements Transaction.
func (t *transaction) Open(ctx context.Context) error {
	if t.draft != nil {
		return nil
	}
	group := 0
	if len(t.recipients) > 0 {
		group = t.recipients[0].account.Volume
	}
	d, err := t.h.cfg.Store.Blobs().NewDraft(ctx, group)
	if err != nil {
		return trouble(err)
	}
	t.draft = d
	return nil
}

// Write implements Transaction.
func (t *transaction) Write(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	if lim := t.h.cfg.Limits().Size; lim > 0 && t.draft.Size()+int64(len(p)) > lim {
		t.err = tooBig(lim)
		return 0, t.err
	}
	n, err := t.draft.Write(p)
	if err != nil {
		t.err = trouble(err)
		return n, t.err
	}
	return n, nil
}

// Commit implements Transaction.
func (t *transaction) Commit(ctx context.Context) (*Receipt, error) {
	receipt, trace, r := t.commit(ctx)
	if r == nil {
		t.done = true
		return receipt, nil
	}
	if r.Err != nil {
		t.h.cfg.Log.Error("message not taken", "session", t.v.Session, "id", t.id, "error", r.Err)
	}
	t.h.refused(ctx, &t.v, "message refused", t.from.String(), r)
	if trace == nil {
		trace = t.trace(nil)
	}
	for i := range trace.Recipients {
		if trace.Recipients[i].Outcome == "" {
			trace.Recipients[i].Outcome, trace.Recipients[i].Reason = outcome(r), r.Text
		}
	}
	t.done = true
	t.h.cfg.Store.WriteTrace(trace)
	return nil, r
}

func (t *transaction) commit(ctx context.Context) (*Receipt, *store.Trace, *mail.Reply) {
	if t.err != nil {
		return nil, nil, t.err
	}
	if t.draft == nil || len(t.recipients) == 0 {
		return nil, nil, mail.NewReply(554, "5.5.1", "No valid recipients")
	}
	if err := t.draft.Finish(ctx); err != nil {
		return nil, nil, trouble(err)
	}
	m, err := message.Parse(ctx, t.draft, t.draft.Size(), message.Limits{})
	if err != nil {
		return nil, nil, trouble(err)
	}
	if lim := t.h.cfg.Limits().Hops; lim > 0 && m.Header.CountReceived() > lim {
		return nil, nil, mail.NewReply(554, "5.4.6", fmt.Sprintf(
			"The message has passed more than %d servers: a loop", lim))
	}
	if r := t.judgeAuthor(m); r != nil {
		return nil, nil, r
	}
	d := t.delivery(m)
	results, err := t.h.cfg.Store.Deliver(ctx, d)
	if err != nil {
		return nil, d.Trace, trouble(err)
	}
	receipt, r := t.receipt(d, results)
	return receipt, d.Trace, r
}

// judgeAuthor holds the From field of an authenticated sender to its own
// addresses, so that nobody writes in a colleague's name.
func (t *transaction) judgeAuthor(m *message.Message) *mail.Reply {
	if t.v.User == nil {
		return nil
	}
	for _, a := range m.Header.Addresses("From") {
		if a.Mark != message.Mailbox || a.Mail().Key() == t.v.User.Address.Key() {
			continue
		}
		return mail.NewReply(550, "5.7.1", fmt.Sprintf("%s may not write as %s (the From field)",
			t.v.User.Address, a.Mail()))
	}
	return nil
}

// delivery makes what the store wants: one target for each account.
func (t *transaction) delivery(m *message.Message) *store.Delivery {
	now := t.h.cfg.Now()
	d := &store.Delivery{Body: t.draft, Received: now, Thread: m.Header.ThreadKey(),
		Format: message.FormVersion, Parsed: m.AppendForm(nil), Trace: t.trace(m)}
	d.Sent, _ = message.ParseDate(m.Header.Get("Date"))
	stamp := t.stamp(m, now)
	d.Targets = make([]store.Target, 0, len(t.recipients))
	for i := range t.recipients {
		if r := &t.recipients[i]; r.same == i {
			d.Targets = append(d.Targets, store.Target{Account: r.account.ID,
				Prefix: stamp.prefix(r), Grace: t.v.Door != "lmtp" && len(t.recipients) > 1})
		}
	}
	return d
}

// receipt turns the store's results into replies. The message as a whole is
// refused only when nobody got it.
func (t *transaction) receipt(d *store.Delivery, results []store.Result) (*Receipt, *mail.Reply) {
	receipt := &Receipt{ID: t.id, Recipients: make([]*mail.Reply, len(t.recipients))}
	var refusal *mail.Reply
	taken, next := false, 0
	for i := range t.recipients {
		if r := &t.recipients[i]; r.same != i {
			receipt.Recipients[i] = receipt.Recipients[r.same]
			continue
		}
		reply := replyTo(results[next].Err)
		next++
		receipt.Recipients[i] = reply
		if reply.OK() {
			taken = true
		} else if refusal == nil || reply.Temporary() {
			refusal = reply
		}
	}
	if !taken {
		return nil, refusal
	}
	t.h.cfg.Log.LogAttrs(context.Background(), slog.LevelInfo, "delivered",
		slog.String("session", t.v.Session), slog.String("id", t.id),
		slog.String("from", d.Trace.From), slog.Int64("size", t.draft.Size()),
		slog.Int("recipients", len(t.recipients)))
	return receipt, nil
}

func replyTo(err error) *mail.Reply {
	switch mail.KindOf(err) {
	case mail.Internal:
		if err == nil {
			return mail.NewReply(250, "2.1.5", "Delivered")
		}
		return trouble(err)
	case mail.OverQuota:
		return overQuota()
	case mail.Denied:
		return mail.NewReply(550, "5.2.1", "The mailbox is disabled")
	case mail.NotFound:
		return mail.NewReply(550, "5.1.1", "No such user here")
	}
	return trouble(err)
}

// trace begins the story of this message.
func (t *transaction) trace(m *message.Message) *store.Trace {
	tr := &store.Trace{ID: t.id, Time: t.h.cfg.Now(), Door: t.v.Door, Peer: peer(&t.v),
		Helo: t.v.Helo, User: user(&t.v), TLS: tlsFacts(t.v.TLS), From: t.from.String()}
	if t.draft != nil {
		tr.Size = t.draft.Size()
	}
	if m != nil {
		tr.MessageID = m.Header.Get("Message-ID")
	}
	tr.Recipients = make([]store.TraceRecipient, 0, len(t.recipients)+len(t.refusals))
	for i := range t.recipients {
		r := &t.recipients[i]
		tr.Recipients = append(tr.Recipients,
			store.TraceRecipient{Address: r.to.String(), Account: r.account.ID})
	}
	tr.Recipients = append(tr.Recipients, t.refusals...)
	return tr
}

// Abort implements Transaction.
func (t *transaction) Abort() {
	if !t.done && len(t.refusals) > 0 && len(t.recipients) == 0 {
		t.h.cfg.Store.WriteTrace(t.trace(nil))
	}
	t.done = true
	if t.draft != nil {
		t.draft.Discard()
	}
}

// maxHelo cuts what a stranger says of itself in the Received line.
const maxHelo = 255

// A stamp is what all prefixes of one message share.
type stamp struct {
	from  string // the Return-Path field
	added []byte // Received, and what a submission lacked
}

// stamp writes the fields that go on top of a message (RFC 5321 section
// 4.4). A submission without Date or Message-ID gets them (RFC 6409 section
// 8); the message itself is never changed.
func (t *transaction) stamp(m *message.Message, now time.Time) *stamp {
	b := make([]byte, 0, 512)
	b = append(b, "Received: from "...)
	b = append(b, clip(t.v.Helo)...)
	if a := t.v.Remote; a.IsValid() {
		b = append(b, " (["...)
		if a.Addr().Unmap().Is6() {
			b = append(b, "IPv6:"...)
		}
		b = a.Addr().Unmap().AppendTo(b)
		b = append(b, "])"...)
	}
	if t.v.User != nil {
		b = append(b, "\r\n\t(authenticated as "...)
		b = append(b, t.v.User.Address.String()...)
		b = append(b, ')')
	}
	host := t.h.cfg.Hostname()
	b = append(b, "\r\n\tby "...)
	b = append(b, host...)
	b = append(b, " with "...)
	b = append(b, t.v.With...)
	b = append(b, " id "...)
	b = append(b, t.id...)
	if facts := tlsFacts(t.v.TLS); facts != "" {
		b = append(b, "\r\n\t("...)
		b = append(b, facts...)
		b = append(b, ')')
	}
	if len(t.recipients) == 1 { // others must not learn of each other
		b = append(b, "\r\n\tfor <"...)
		b = append(b, t.recipients[0].to.String()...)
		b = append(b, '>')
	}
	b = append(b, ";\r\n\t"...)
	b = now.AppendFormat(b, time.RFC1123Z)
	b = append(b, "\r\n"...)
	if t.v.User != nil {
		b = t.complete(b, m, host, now)
	}
	return &stamp{from: "Return-Path: <" + t.from.String() + ">\r\n", added: b}
}

func (t *transaction) complete(b []byte, m *message.Message, host string, now time.Time) []byte {
	if !m.Header.Has("Date") {
		b = append(b, "Date: "...)
		b = now.AppendFormat(b, time.RFC1123Z)
		b = append(b, "\r\n"...)
	}
	if !m.Header.Has("Message-ID") {
		b = append(b, "Message-ID: <"+t.id+"@"+host+">\r\n"...)
	}
	return b
}

func (s *stamp) prefix(r *recipient) []byte {
	to := r.account.Address.String()
	b := make([]byte, 0, len(s.from)+len(to)+len(s.added)+18)
	b = append(b, s.from...)
	b = append(b, "Delivered-To: "...)
	b = append(b, to...)
	b = append(b, "\r\n"...)
	return append(b, s.added...)
}

// clip makes a stranger's word fit for a header field.
func clip(s string) string {
	if s == "" {
		return "unknown"
	}
	if len(s) > maxHelo {
		s = s[:maxHelo]
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || strings.ContainsRune("()<>;\\\"", r) {
			return '?'
		}
		return r
	}, s)
}
