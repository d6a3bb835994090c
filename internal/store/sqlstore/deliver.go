package sqlstore

import (
	"context"
	"fmt"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/commit"
	"postrider/internal/store/record"
	"postrider/internal/store/story"
)

// targetsPerOp keeps one delivery from holding the committer: a message for
// more recipients goes in steps, the first of which promises the others. The
// sender hears 250 after the last.
const targetsPerOp = 128

// A target whose row is larger than usual, with its prefix and parsed form,
// counts for several: one more for so many bytes.
const targetBytes = 4 << 10

// step is how many of the next n targets one step takes, and its weight.
func step(parsed, n int, prefix func(int) []byte) (taken, weight int) {
	for taken < min(n, targetsPerOp) {
		w := 1 + (parsed+len(prefix(taken)))/targetBytes
		if taken > 0 && weight+w > targetsPerOp {
			break
		}
		taken, weight = taken+1, weight+w
	}
	return taken, weight
}

// Deliver implements store.Store.
func (s *Store) Deliver(ctx context.Context, d *store.Delivery) ([]store.Result, error) {
	if err := s.space.Check(d.Body.Size()); err != nil {
		return nil, err
	}
	results := make([]store.Result, len(d.Targets))
	job := &delivery{s: s, Delivery: d, blob: mail.BlobID(s.ids.next())}
	if d.Trace != nil {
		job.traceID = s.ids.next()
	}
	first, weight := step(len(d.Parsed), len(d.Targets), func(i int) []byte {
		return d.Targets[i].Prefix
	})
	if !d.Hold.IsZero() {
		first, weight = 0, 1
	}
	err := s.committer.Submit(&commit.Op{Promise: commit.InVolume, Weight: weight,
		Run: s.in(func(t *tx) error { return job.run(t, results, first) })})
	if err != nil {
		return nil, err
	}
	switch {
	case !d.Hold.IsZero():
		s.keeper.pendingSoon()
	case first < len(results):
		s.goOn(job, results[first:])
	}
	return results, nil
}

// A delivery is a store.Delivery on its way through the committer.
type delivery struct {
	s *Store
	*store.Delivery
	blob    mail.BlobID
	traceID int64
	used    bool // the first email has taken the blob's number
}

// run delivers to the first targets and promises the message to the others.
// What can be refused is found out before anything is written.
func (d *delivery) run(t *tx, results []store.Result, first int) error {
	m := &record.Meta{Blob: d.blob, Received: d.Received, Thread: d.Thread, Due: d.Hold}
	if !d.Sent.IsZero() {
		m.Sent = d.Sent.Unix()
	}
	m.Targets = make([]record.Target, 0, len(d.Targets))
	for i := range d.Targets {
		if i >= first {
			r := d.promise(&d.Targets[i])
			results[i] = store.Result{Email: r.Email}
			m.Targets = append(m.Targets, r)
			continue
		}
		r, err := d.place(t, &d.Targets[i])
		results[i] = store.Result{Email: r.Email, UID: r.UID, Err: err}
		if err == nil {
			m.Targets = append(m.Targets, r)
		} else if mail.KindOf(err) == mail.Internal {
			return err
		}
	}
	if d.Trace != nil {
		d.judge(results)
		m.Trace = story.Append(nil, d.Trace)
		if err := t.insertTrace(d.traceID, d.Trace.Time, m.Trace); err != nil {
			return err
		}
	}
	if len(m.Targets) == 0 {
		return nil
	}
	return d.write(t, m, len(d.Targets)-first)
}

// write adds the record and the rows of a delivery whose last targets have
// no place yet.
func (d *delivery) write(t *tx, m *record.Meta, promised int) error {
	loc, err := t.Blobs.Add(d.group(t), d.Body, m.Append(nil))
	if err != nil {
		return err
	}
	if err := t.insertBlob(d.blob, loc); err != nil {
		return err
	}
	placed := len(m.Targets) - promised
	t.Later(func() error {
		for i := range placed {
			if err := t.insertTarget(m, &m.Targets[i], d.Format, d.Parsed); err != nil {
				return err
			}
		}
		return t.insertPending(m, m.Targets[placed:], len(d.Parsed), d.traceID)
	})
	return nil
}

// promise draws a message's number for a target that gets it later.
func (d *delivery) promise(target *store.Target) record.Target {
	return record.Target{Account: target.Account, Mailbox: max(target.Mailbox, store.Inbox),
		Email: d.emailID(), Flags: target.Flags, Size: int64(len(target.Prefix)) + d.Body.Size(),
		Prefix: target.Prefix}
}

// place draws the numbers of one target and counts it, or says why it is
// refused.
func (d *delivery) place(t *tx, target *store.Target) (record.Target, error) {
	a, err := t.account(d.s, target.Account)
	if err != nil {
		return record.Target{}, err
	}
	if !a.Enabled {
		return record.Target{}, mail.Errorf(mail.Denied, "the account is disabled")
	}
	if len(target.Prefix) > store.MaxPrefix {
		return record.Target{}, mail.Errorf(mail.Invalid,
			fmt.Sprintf("the prefix is longer than %d bytes", store.MaxPrefix))
	}
	n, err := t.counters(target.Account)
	if err != nil {
		return record.Target{}, err
	}
	size := int64(len(target.Prefix)) + d.Body.Size()
	if a.Quota > 0 && !target.Grace && n.usage.Bytes+size > a.Quota {
		return record.Target{}, mail.Errorf(mail.OverQuota, "the mailbox is full")
	}
	box, err := t.mailbox(n, target.Account, max(target.Mailbox, store.Inbox))
	if err != nil {
		return record.Target{}, err
	}
	r := record.Target{Account: target.Account, Mailbox: box.ID, UID: box.UIDNext,
		Email: d.emailID(), Flags: target.Flags, Size: size, Prefix: target.Prefix}
	r.ModSeq = t.change(n, box)
	count(&n.usage, box, &r)
	return r, nil
}

// count adds a message to the counters.
func count(u *store.Usage, box *store.Mailbox, r *record.Target) {
	box.UIDNext = max(box.UIDNext, r.UID+1)
	box.Messages++
	box.Bytes += r.Size
	if r.Flags&mail.Seen == 0 {
		box.Unseen++
	}
	u.Messages++
	u.Bytes += r.Size
}

// emailID draws the number of a message. The first one of a blob takes the
// blob's, so that most emails stay out of the index email_shared.
func (d *delivery) emailID() mail.EmailID {
	if !d.used {
		d.used = true
		return mail.EmailID(d.blob)
	}
	return mail.EmailID(d.s.ids.next())
}

// group is the volume directory of the first recipient that is bound to one.
func (d *delivery) group(t *tx) int {
	for i := range min(len(d.Targets), targetsPerOp) { // enough of them
		a, err := t.account(d.s, d.Targets[i].Account)
		if err == nil && a.Volume != 0 {
			return a.Volume
		}
	}
	return 0
}

// judge writes the outcome of each target into the trace. The recipients of
// one account share its target. Both stand in the same order as a rule, so a
// search begins where the last one ended.
func (d *delivery) judge(results []store.Result) {
	next := 0
	for i := range d.Trace.Recipients {
		r := &d.Trace.Recipients[i]
		j, ok := d.target(r.Account, next)
		if !ok {
			continue
		}
		next = j
		switch res := &results[j]; {
		case res.Err != nil:
			r.Outcome, r.Reason, r.Email = "deferred", res.Err.Error(), 0
			if final(res.Err) {
				r.Outcome = "refused"
			}
		case res.UID != 0:
			r.Outcome, r.Reason, r.Email = "delivered", "", res.Email
		default:
			r.Outcome, r.Reason, r.Email = promised, "", res.Email
			if !d.Hold.IsZero() {
				r.Reason = "held until " + d.Hold.UTC().Format(time.RFC3339)
			}
		}
	}
}

// final says whether an error stays, so that the sender shall not try again.
func final(err error) bool {
	kind := mail.KindOf(err)
	return kind == mail.NotFound || kind == mail.Denied
}

// target finds the target of an account, first among those from next on.
func (d *delivery) target(a mail.AccountID, next int) (int, bool) {
	if a == 0 {
		return 0, false
	}
	for i := range d.Targets {
		j := (next + i) % len(d.Targets)
		if d.Targets[j].Account == a {
			return j, true
		}
	}
	return 0, false
}
