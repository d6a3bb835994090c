package intake

import (
	"bytes"
	"context"
	"io"
	"strings"

	"postrider/internal/blob"
	"postrider/internal/mail"
	"postrider/internal/message"
)

// A composition implements Composition: it gathers the message, reads the
// envelope from its header, and then goes the way of every transaction.
type composition struct {
	h   *Hall
	v   Visitor
	raw blob.Draft // nil once the transaction has it
	err *mail.Reply
}

// Compose implements Receiver.
func (h *Hall) Compose(ctx context.Context, v *Visitor) (Composition, error) {
	if v.User == nil {
		return nil, mail.NewReply(530, "5.7.0", "authentication required")
	}
	d, err := h.cfg.Store.Blobs().NewDraft(ctx, 0)
	if err != nil {
		return nil, trouble(err)
	}
	return &composition{h: h, v: *v, raw: d}, nil
}

// Write implements Composition.
func (c *composition) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if lim := c.h.cfg.Limits().Size; lim > 0 && c.raw.Size()+int64(len(p)) > lim {
		c.err = tooBig(lim)
		return 0, c.err
	}
	n, err := c.raw.Write(p)
	if err != nil {
		c.err = trouble(err)
		return n, c.err
	}
	return n, nil
}

// Yield implements Composition.
func (c *composition) Yield() {
	if c.raw != nil {
		c.raw.Yield()
	}
}

// Commit implements Composition.
func (c *composition) Commit(ctx context.Context) (*Receipt, error) {
	if c.raw == nil {
		return nil, mail.NewReply(503, "5.5.1", "the message was committed already")
	}
	begun, err := c.h.From(ctx, &c.v, c.v.User.Address, mail.MailParams{Size: c.raw.Size()})
	if err != nil {
		return nil, err
	}
	t := begun.(*transaction)
	defer t.Abort()
	m, r := c.parse(ctx)
	if r == nil {
		r = c.address(ctx, t, m)
	}
	if r == nil {
		r = c.hand(ctx, t, m)
	}
	if r != nil {
		if !t.done {
			t.refuse(ctx, r)
		}
		return nil, r
	}
	return t.Commit(ctx)
}

func (c *composition) parse(ctx context.Context) (*message.Message, *mail.Reply) {
	if c.err != nil {
		return nil, c.err
	}
	if err := c.raw.Finish(ctx); err != nil {
		return nil, trouble(err)
	}
	m, err := message.Parse(ctx, c.raw, c.raw.Size(), message.Limits{})
	if err != nil {
		return nil, trouble(err)
	}
	return m, nil
}

// address gives the transaction its recipients, or says which is refused.
func (c *composition) address(ctx context.Context, t *transaction, m *message.Message) *mail.Reply {
	to, err := message.Recipients(m.Header)
	if err != nil {
		return mail.NewReply(553, "5.1.3", err.Error())
	}
	for _, a := range to {
		if err := t.Rcpt(ctx, a, mail.RcptParams{}); err != nil {
			// Rcpt has left the record; the trace is that of the whole.
			r := named(trouble(err), a)
			if t.done = true; t.recorded {
				t.tell(r)
			}
			return r
		}
	}
	return nil
}

// named makes sure that a refusal names its recipient.
func named(r *mail.Reply, a mail.Address) *mail.Reply {
	if strings.Contains(r.Text, a.String()) {
		return r
	}
	with := *r
	with.Text = a.String() + ": " + r.Text
	return &with
}

// hand passes the message on, without its Bcc fields, which nobody else must
// see. One that stays as it is needs no copy. While memory is held for the
// message no more is waited for, because all others might do the same.
func (c *composition) hand(ctx context.Context, t *transaction, m *message.Message) *mail.Reply {
	hidden := message.BccRanges(m.Header)
	if len(hidden) == 0 && t.recipients[0].account.Volume == 0 {
		t.draft, t.parsed, c.raw = c.raw, m, nil
		return nil
	}
	text := message.Without(c.raw, c.raw.Size(), hidden)
	if c.raw.Bytes() != nil {
		b, err := io.ReadAll(text)
		if err != nil {
			return trouble(err)
		}
		c.raw.Discard()
		text = bytes.NewReader(b)
	}
	if err := t.Open(ctx); err != nil {
		return trouble(err)
	}
	if _, err := io.Copy(t, text); err != nil {
		return trouble(err)
	}
	return nil
}

// Abort implements Composition.
func (c *composition) Abort() {
	if c.raw != nil {
		c.raw.Discard()
	}
}
