package journal

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// A component is a part of the server with a level of its own.
type component struct {
	name      string
	threshold atomic.Int64 // a slog.Level
	records   [len(thresholds)]atomic.Uint64
}

// A handler is the slog.Handler of one component. With attributes, they are
// kept as they will be written.
type handler struct {
	journal   *Journal
	component *component
	fixed     []byte // attributes of WithAttrs, encoded
	prefix    string // open groups, each with its point
}

// Enabled is one atomic load.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool {
	return int64(l) >= h.component.threshold.Load()
}

// buffers holds the memory of records being made.
var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, 1<<10)) }}

// Handle encodes the record and queues it for the writer.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	level := Number(r.Level)
	h.component.records[level].Add(1)
	buf := buffers.Get().(*[]byte)
	e := h.journal.encoder
	t := r.Time
	if t.IsZero() {
		t = h.journal.now()
	}
	b := e.head((*buf)[:0], t, level, h.component.name, bounded(r.Message))
	b = append(b, h.fixed...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(e, b, h.prefix, a)
		return true
	})
	b = e.tail(b)
	h.journal.put(b, dayOf(t), level)
	if cap(b) <= 4*maxRecord {
		*buf = b
		buffers.Put(buf)
	}
	return nil
}

func bounded(text string) string {
	if len(text) > maxValue {
		return clip(text, maxValue) + "…"
	}
	return text
}

// WithAttrs gives a handler that adds these attributes to each record.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	next := *h
	next.fixed = slices.Clip(slices.Clone(h.fixed))
	for _, a := range attrs {
		next.fixed = appendAttr(h.journal.encoder, next.fixed, h.prefix, a)
	}
	return &next
}

// WithGroup gives a handler that puts a name before those of its attributes.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.prefix += name + "."
	return &next
}
