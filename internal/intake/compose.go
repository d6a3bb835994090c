package intake

import (
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
	raw blob.Draft
	err *mail.Reply
}

// Compose implements Receiver.
func (h *Hall) Compose(ctx context.Context, v *Visitor) (Composition, error) {
	if v.User == nil {
		return nil, mail.NewReply(530, "5.7.0", "Authentication required")
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

// Commit implements Composition.
func (c *composition) Commit(ctx context.Context) (*Receipt, error) {
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
	to, err := message.Recipients(m.Header)
	if err != nil {
		return nil, mail.NewReply(553, "5.1.3", err.Error())
	}
	if len(to) == 0 {
		return nil, mail.NewReply(554, "5.5.1", "No recipients in To, Cc or Bcc")
	}
	t, err := c.h.From(ctx, &c.v, c.v.User.Address, mail.MailParams{Size: c.raw.Size()})
	if err != nil {
		return nil, err
	}
	defer t.Abort()
	for _, a := range to {
		if err := t.Rcpt(ctx, a, mail.RcptParams{}); err != nil {
			return nil, err
		}
	}
	if err := t.Open(ctx); err != nil {
		return nil, err
	}
	if err := c.copyTo(t, m); err != nil {
		return nil, trouble(err)
	}
	return t.Commit(ctx)
}

// copyTo passes the message on without its Bcc fields, which nobody else
// must see.
func (c *composition) copyTo(w io.Writer, m *message.Message) error {
	from := int64(0)
	for i := range m.Header.Fields {
		f := &m.Header.Fields[i]
		if !strings.EqualFold(f.Name, "Bcc") && !strings.EqualFold(f.Name, "Resent-Bcc") {
			continue
		}
		if err := c.copyRange(w, from, f.Offset); err != nil {
			return err
		}
		from = f.Offset + f.Len
	}
	return c.copyRange(w, from, c.raw.Size())
}

func (c *composition) copyRange(w io.Writer, from, to int64) error {
	_, err := io.Copy(w, io.NewSectionReader(c.raw, from, to-from))
	return err
}

// Abort implements Composition.
func (c *composition) Abort() { c.raw.Discard() }
