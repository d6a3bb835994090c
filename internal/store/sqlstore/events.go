package sqlstore

import (
	"sync"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// A hub tells listeners what was committed. It never waits for one: a slow
// listener finds the newest event when it looks.
type hub struct {
	mu        sync.Mutex
	listeners map[mail.AccountID]map[chan store.Event]struct{}
}

func (h *hub) init() { h.listeners = map[mail.AccountID]map[chan store.Event]struct{}{} }

// Subscribe implements store.Store.
func (s *Store) Subscribe(a mail.AccountID) (<-chan store.Event, func()) {
	h := &s.hub
	ch := make(chan store.Event, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners[a] == nil {
		h.listeners[a] = map[chan store.Event]struct{}{}
	}
	h.listeners[a][ch] = struct{}{}
	var once sync.Once
	return ch, func() {
		once.Do(func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if _, ok := h.listeners[a][ch]; !ok {
				return
			}
			delete(h.listeners[a], ch)
			if len(h.listeners[a]) == 0 {
				delete(h.listeners, a)
			}
			close(ch)
		})
	}
}

// publish replaces an event that its listener has not taken yet. Only the
// committer's goroutine publishes, and sends happen under mu, so the second
// send always has room.
func (h *hub) publish(e store.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.listeners[e.Account] {
		select {
		case ch <- e:
			continue
		default:
		}
		select {
		case <-ch:
		default:
		}
		ch <- e
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, all := range h.listeners {
		for ch := range all {
			close(ch)
		}
	}
	clear(h.listeners)
}
