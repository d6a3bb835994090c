package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/message"
	"postrider/internal/message/field"
	"postrider/internal/store"
)

// A transaction implements Transaction.
type transaction struct {
	h          *Hall
	v          Visitor
	id         string
	from       string // the return path, without angle brackets
	params     mail.MailParams
	recipients []recipient
	byAccount  map[mail.AccountID]int // index of the first, when there are many
	refusals   []store.TraceRecipient // of RCPT; at most maxRefusals
	refusedOn  int                    // more refusals of RCPT
	recorded   bool                   // one of them has a record in the log
	draft      blob.Draft
	parsed     *message.Message // of the draft, if it is known already
	err        *mail.Reply      // sticky, from Write
	done       bool
}

// A recipient was accepted by RCPT.
type recipient struct {
	to      string // as the sender wrote it, with a domain
	account *store.Account
	params  mail.RcptParams
	same    int // index of an earlier recipient with this account, or its own
}

// maxTold and maxRefusals bound how many recipients a trace spells out, those
// accepted and those refused; the others are counted.
const (
	maxTold     = 100
	maxRefusals = 20
)

// formRoom and stampRoom hold the parsed form and the trace fields of most
// messages, in bytes.
const (
	formRoom  = 512
	stampRoom = 640
)

// Rcpt implements Transaction.
func (t *transaction) Rcpt(ctx context.Context, to mail.Address, p mail.RcptParams) error {
	var a *store.Account
	r := t.h.judgeUser(ctx, &t.v)
	if r == nil {
		a, r = t.route(ctx, to)
	}
	text := to.String()
	if r != nil {
		if t.h.refused(ctx, &t.v, "recipient refused", text, r) {
			t.recorded = true
		}
		if len(t.refusals) < maxRefusals {
			t.refusals = append(t.refusals, store.TraceRecipient{Address: text,
				Outcome: outcome(r), Reason: r.Text})
		} else {
			t.refusedOn++
		}
		return r
	}
	if to.Domain == "" { // a bare name is no path (RFC 5321 section 4.1.2)
		text = a.Address.String()
	}
	t.recipients = append(t.recipients, recipient{text, a, p, t.first(a.ID)})
	return nil
}

// first is the index of the recipient who had this account first, or that of
// the next one.
func (t *transaction) first(id mail.AccountID) int {
	const many = 32 // from here on a list is searched slower than a map
	n := len(t.recipients)
	if n < many {
		for i := range t.recipients {
			if t.recipients[i].account.ID == id {
				return i
			}
		}
		return n
	}
	if t.byAccount == nil {
		t.byAccount = make(map[mail.AccountID]int, 2*many)
		for i := range t.recipients {
			t.byAccount[t.recipients[i].account.ID] = t.recipients[i].same
		}
	}
	if i, ok := t.byAccount[id]; ok {
		return i
	}
	t.byAccount[id] = n
	return n
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
		return nil, mail.NewReply(452, "4.5.3", fmt.Sprintf("no more than %d recipients", lim))
	}
	addr, local, err := t.h.local(ctx, &t.v, to)
	switch {
	case err != nil:
		return nil, trouble(err)
	case !local && t.v.User != nil:
		return nil, mail.NewReply(550, "5.3.3",
			"this server does not send to other domains yet, only to local recipients")
	case !local:
		return nil, mail.NewReply(550, "5.7.1", "relaying denied: "+to.Domain+" is not served here")
	}
	a, err := t.h.account(ctx, addr)
	switch {
	case mail.KindOf(err) == mail.NotFound && strings.ContainsAny(to.Local, "%!@"):
		return nil, mail.NewReply(550, "5.7.1", "relaying denied: routes in addresses lead nowhere")
	case mail.KindOf(err) == mail.NotFound:
		return nil, mail.NewReply(550, "5.1.1", "no such user here: "+to.String())
	case err != nil:
		return nil, trouble(err)
	case !a.Enabled:
		return nil, mail.NewReply(550, "5.2.1", "the mailbox of "+to.String()+" is disabled")
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

func overQuota() *mail.Reply { return mail.NewReply(452, "4.2.2", "the mailbox is full") }

// trouble is the reply to a failure of ours.
func trouble(err error) *mail.Reply {
	if r, ok := errors.AsType[*mail.Reply](err); ok {
		return r
	}
	r := mail.NewReply(451, "4.3.0", "temporary trouble, try again later")
	if mail.KindOf(err) == mail.Full {
		r = mail.NewReply(452, "4.3.1", "not enough room now, try again later")
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

// Yield implements Transaction.
func (t *transaction) Yield() {
	if t.draft != nil {
		t.draft.Yield()
	}
}

// Commit implements Transaction.
func (t *transaction) Commit(ctx context.Context) (*Receipt, error) {
	receipt, told, r := t.commit(ctx)
	t.done = true
	if r == nil {
		return receipt, nil
	}
	if t.refused(ctx, r) && !told {
		t.tell(r)
	}
	return nil, r
}

// Refuse implements Transaction.
func (t *transaction) Refuse(ctx context.Context, r *mail.Reply) {
	if t.done {
		return
	}
	t.refuse(ctx, r)
	t.Abort()
}

// refuse leaves record and trace of a message that is not taken.
func (t *transaction) refuse(ctx context.Context, r *mail.Reply) {
	t.done = true
	if t.refused(ctx, r) {
		t.tell(r)
	}
}

// refused leaves the record of a message that is not taken, and tells
// whether it did.
func (t *transaction) refused(ctx context.Context, r *mail.Reply) bool {
	return t.h.refused(ctx, &t.v, "message refused", t.from, r)
}

// tell writes the trace of a message that is not taken.
func (t *transaction) tell(r *mail.Reply) {
	trace := t.trace()
	for i := range trace.Recipients {
		if trace.Recipients[i].Outcome == "" {
			trace.Recipients[i].Outcome, trace.Recipients[i].Reason = outcome(r), r.Text
		}
	}
	t.h.cfg.Store.WriteTrace(trace)
}

// commit is Commit; told says that the store has written the trace.
func (t *transaction) commit(ctx context.Context) (_ *Receipt, told bool, _ *mail.Reply) {
	if t.err != nil {
		return nil, false, t.err
	}
	if t.draft == nil || len(t.recipients) == 0 {
		return nil, false, mail.NewReply(554, "5.5.1", "no valid recipients")
	}
	if err := t.draft.Finish(ctx); err != nil {
		return nil, false, trouble(err)
	}
	if t.parsed == nil {
		m, err := message.Parse(ctx, t.draft, t.draft.Size(), message.Limits{})
		if err != nil {
			return nil, false, trouble(err)
		}
		t.parsed = m
	}
	if r := t.judge(ctx, t.parsed); r != nil {
		return nil, false, r
	}
	d := t.delivery(t.parsed)
	if r := t.roomForAll(ctx, d); r != nil {
		return nil, false, r
	}
	results, err := t.h.cfg.Store.Deliver(ctx, d)
	if err != nil {
		return nil, false, trouble(err)
	}
	receipt, r := t.receipt(d, results)
	return receipt, true, r
}

// judge says why a message as a whole is not taken, or nil.
func (t *transaction) judge(ctx context.Context, m *message.Message) *mail.Reply {
	if r := t.h.judgeUser(ctx, &t.v); r != nil {
		return r
	}
	// RFC 5321 section 6.3
	if lim := t.h.cfg.Limits().Hops; lim > 0 && m.Header.CountReceived() > lim {
		return mail.NewReply(554, "5.4.6", fmt.Sprintf(
			"the message has passed more than %d servers: a loop", lim))
	}
	return t.judgeAuthor(m)
}

// authorFields name who wrote or passed on a message (RFC 5322 sections 3.6.2
// and 3.6.6).
var authorFields = [...]string{"From", "Sender", "Resent-From", "Resent-Sender"}

// judgeAuthor holds these fields of an authenticated sender to its own
// address, so that nobody writes in a colleague's name. A message without a
// From field gets one (stamp).
func (t *transaction) judgeAuthor(m *message.Message) *mail.Reply {
	if t.v.User == nil {
		return nil
	}
	if m.Header.Truncated { // a From field may be in the rest
		return mail.NewReply(554, "5.6.0", "the header is too large")
	}
	own := t.v.User.Address
	for _, name := range authorFields {
		named := false
		for _, a := range m.Header.Addresses(name) {
			if a.Mark != field.Mailbox {
				continue
			}
			if named = true; a.Mail().Key() != own.Key() {
				return mail.NewReply(550, "5.7.1", fmt.Sprintf("%s may not write as %s (the %s field)",
					own, a.Mail(), name))
			}
		}
		if name == "From" && !named && m.Header.Has(name) {
			return mail.NewReply(550, "5.7.1", fmt.Sprintf("the From field names nobody, not %s", own))
		}
	}
	return nil
}

// delivery makes what the store wants: one target for each account.
func (t *transaction) delivery(m *message.Message) *store.Delivery {
	now := t.h.cfg.Now()
	d := &store.Delivery{Body: t.draft, Received: now, Thread: m.Header.ThreadKey(),
		Format: message.FormVersion, Parsed: m.AppendForm(make([]byte, 0, formRoom)), Trace: t.trace()}
	if t.params.HoldUntil.After(now) {
		d.Hold = t.params.HoldUntil
	}
	d.Sent = m.Header.Sent()
	var room [stampRoom]byte
	shared := t.stamp(room[:0], m, now)
	var flags mail.Flags
	if t.params.Body == mail.BodyBinaryMIME && m.Root.HasBinary() {
		flags = mail.Binary
	}
	d.Targets = make([]store.Target, 0, len(t.recipients))
	for i := range t.recipients {
		if r := &t.recipients[i]; r.same == i {
			d.Targets = append(d.Targets, store.Target{Account: r.account.ID, Flags: flags,
				Prefix: t.prefix(r, shared)})
		}
	}
	// LMTP can tell who has no room. Where one answer is for all, there was
	// room for everybody a moment ago, and now everybody gets it.
	if t.v.Door != "lmtp" && len(d.Targets) > 1 {
		for i := range d.Targets {
			d.Targets[i].Grace = true
		}
	}
	return d
}

// roomForAll refuses a message for which somebody has no room: where one
// answer is for all, nobody gets it before all can. LMTP answers for each, and
// the store finds out for one alone; but what is held is stored without a look.
func (t *transaction) roomForAll(ctx context.Context, d *store.Delivery) *mail.Reply {
	if t.v.Door == "lmtp" || len(d.Targets) == 1 && d.Hold.IsZero() {
		return nil
	}
	next := 0
	for i := range t.recipients {
		to := &t.recipients[i]
		if to.same != i {
			continue
		}
		size := int64(len(d.Targets[next].Prefix)) + d.Body.Size()
		next++
		if r := t.room(ctx, to.account, size); r != nil {
			if r.Enhanced == overQuota().Enhanced { // the others want to know whose
				r = mail.NewReply(r.Code, r.Enhanced, "the mailbox of "+to.to+" is full")
			}
			return r
		}
	}
	return nil
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

var replyDelivered = mail.NewReply(250, "2.1.5", "delivered")

func replyTo(err error) *mail.Reply {
	switch mail.KindOf(err) {
	case mail.Internal:
		if err == nil {
			return replyDelivered
		}
		return trouble(err)
	case mail.OverQuota:
		return overQuota()
	case mail.Denied:
		return mail.NewReply(550, "5.2.1", "the mailbox is disabled")
	case mail.NotFound:
		return mail.NewReply(550, "5.1.1", "no such user here")
	}
	return trouble(err)
}

// trace begins the story of this message: an entry for each account.
func (t *transaction) trace() *store.Trace {
	tr := &store.Trace{ID: t.id, Time: t.h.cfg.Now(), Door: t.v.Door, Peer: peer(&t.v),
		Helo: t.v.Helo, User: user(&t.v), TLS: tlsFacts(t.v.TLS), From: t.from,
		Return: t.params.Return, EnvelopeID: t.params.EnvelopeID, RequireTLS: t.params.RequireTLS}
	if t.draft != nil {
		tr.Size = t.draft.Size()
	}
	if t.parsed != nil {
		tr.MessageID = t.parsed.Header.Get("Message-ID")
	}
	tr.More = t.refusedOn
	tr.Recipients = make([]store.TraceRecipient, 0, min(len(t.recipients), maxTold)+len(t.refusals))
	for i := range t.recipients {
		r := &t.recipients[i]
		if r.same != i {
			continue // the account is told of already
		}
		if len(tr.Recipients) == maxTold {
			tr.More++
			continue
		}
		tr.Recipients = append(tr.Recipients,
			store.TraceRecipient{Address: r.to, Account: r.account.ID,
				Notify: r.params.Notify, Original: r.params.Original})
	}
	tr.Recipients = append(tr.Recipients, t.refusals...)
	return tr
}

// Abort implements Transaction.
func (t *transaction) Abort() {
	if !t.done && t.recorded && len(t.recipients) == 0 {
		t.h.cfg.Store.WriteTrace(t.trace())
	}
	t.done = true
	if t.draft != nil {
		t.draft.Discard()
	}
}
