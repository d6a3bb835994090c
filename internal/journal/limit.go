package journal

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

const (
	// limitBurst is how many similar records of one source are written in
	// each limitWindow; the others are counted.
	limitBurst  = 10
	limitWindow = time.Minute
	// limitSources bounds how many sources are told apart at a time. The
	// others share one allowance for each kind of record.
	limitSources = 4096
)

// A limitKey is what makes records similar.
type limitKey struct {
	component *component
	source    netip.Addr // IPv6: the /64; zero: the others together
	text      string
}

type limitCount struct {
	began      time.Time
	seen       int
	suppressed int
}

// A limiter counts similar records of a source.
type limiter struct {
	now func() time.Time

	mu     sync.Mutex
	counts map[limitKey]*limitCount
	begun  time.Time // of the oldest window
}

func (l *limiter) init(now func() time.Time) {
	l.now, l.counts = now, make(map[limitKey]*limitCount)
}

// Refused logs a refusal at level 1, as every refused return path, recipient
// and login must be. A source that causes many is not allowed to flood the
// log: ten similar records a minute are written, and then one that tells how
// many were suppressed. Similar are those of one component with the same text,
// so what differs belongs into the attributes. It tells whether this one was
// written, so that what else is kept of a refusal can be limited in the same way.
//
// The zero source stands for this machine. A Logger of another package than
// this one writes every record.
func Refused(ctx context.Context, l *slog.Logger, source netip.Addr, text string,
	attrs ...slog.Attr,
) (written bool) {
	h, ok := l.Handler().(*handler)
	if ok && !h.journal.limiter.allow(limitKey{h.component, group(source), text}) {
		return false
	}
	l.LogAttrs(ctx, Failure, text, attrs...)
	return true
}

// group gives the address that stands for a source: an IPv6 host has at least
// a /64 to choose from.
func group(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() && !a.IsLoopback() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

func (l *limiter) allow(k limitKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.now()
	c := l.counts[k]
	if c == nil && len(l.counts) >= limitSources {
		k.source = netip.Addr{}
		c = l.counts[k]
	}
	if c == nil {
		c = &limitCount{began: t}
		if len(l.counts) == 0 {
			l.begun = t
		}
		l.counts[k] = c
	}
	if c.suppressed == 0 && t.Sub(c.began) >= limitWindow {
		*c = limitCount{began: t}
	}
	c.seen++
	if c.seen > limitBurst {
		c.suppressed++
		return false
	}
	return true
}

// A summary is a window that has ended with records suppressed.
type summary struct {
	limitKey
	limitCount
}

// ended removes the windows that are over, or all, and tells how long it is to
// the end of the next one, 0 if there is none.
func (l *limiter) ended(t time.Time, all bool) ([]summary, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.counts) == 0 {
		return nil, 0
	}
	if left := limitWindow - t.Sub(l.begun); left > 0 && !all {
		return nil, left
	}
	var over []summary
	oldest := t
	for k, c := range l.counts {
		if t.Sub(c.began) < limitWindow && !all {
			if c.began.Before(oldest) {
				oldest = c.began
			}
			continue
		}
		if c.suppressed > 0 {
			over = append(over, summary{k, *c})
		}
		delete(l.counts, k)
	}
	l.begun = oldest
	if len(l.counts) == 0 {
		return over, 0
	}
	return over, max(limitWindow-t.Sub(oldest), time.Second)
}

// report writes how many records were suppressed in the windows that are over.
func (j *Journal) report(t time.Time, all bool) time.Duration {
	over, next := j.limiter.ended(t, all)
	for _, s := range over {
		h := &handler{journal: j, component: s.component}
		r := slog.NewRecord(t, Failure, s.text+": similar records suppressed", 0)
		r.AddAttrs(slog.Int("count", s.suppressed), slog.Time("since", s.began))
		if s.source.IsValid() {
			r.AddAttrs(slog.String("peer", showGroup(s.source)))
		}
		_ = h.Handle(context.Background(), r)
	}
	return next
}

func showGroup(a netip.Addr) string {
	if a.Is6() && !a.IsLoopback() {
		return netip.PrefixFrom(a, 64).String()
	}
	return a.String()
}
