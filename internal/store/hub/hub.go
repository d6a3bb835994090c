// Package hub tells listeners what was committed.
package hub

import (
	"sync"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// A Hub passes events on. It never waits for a listener: a slow one finds the
// newest event when it looks. Its methods may be called concurrently, Publish
// by one goroutine at a time.
type Hub struct {
	mu        sync.Mutex
	listeners map[mail.AccountID]map[chan store.Event]struct{}
}

// New makes a Hub without listeners.
func New() *Hub { return &Hub{listeners: map[mail.AccountID]map[chan store.Event]struct{}{}} }

// Subscribe hears of an account's changes until cancel is called or the hub
// is closed, either of which closes the channel.
func (h *Hub) Subscribe(a mail.AccountID) (events <-chan store.Event, cancel func()) {
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

// Publish passes an event on; it replaces one that its listener has not taken
// yet. Sends happen under mu, so the second one always has room.
func (h *Hub) Publish(e store.Event) {
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

// Close ends all subscriptions.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, all := range h.listeners {
		for ch := range all {
			close(ch)
		}
	}
	clear(h.listeners)
}
