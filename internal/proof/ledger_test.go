package proof

import (
	"fmt"
	"strings"
	"sync"
)

// A fate is what is known of one message in one mailbox.
type fate int

const (
	absent    fate = iota // refused, never sent whole, or found to be absent
	unheard               // sent, and no reply heard: may be there once
	confirmed             // answered 250, or found: must be there once
	leaving               // QUIT sent, and no reply heard: may be there once
	deleted               // deletion answered +OK: must not be there
)

// place is one message in one mailbox.
type place struct{ box, id string }

// A ledger knows what each mailbox must hold. It may be used concurrently.
type ledger struct {
	mu       sync.Mutex
	fates    map[place]fate
	messages map[string]*message
	count    tally
	refusals []string // what was said
	// removed tells over which connection, by its local port, a deletion
	// was confirmed.
	removed map[place]int
	// doubtful says that a refused message may be there once all the same:
	// what a commit that failed has left behind nobody knows.
	doubtful bool
}

// A tally is what a test reports.
type tally struct {
	sent      int // messages whose end was sent
	answered  int // answered 250
	refused   int // answered otherwise
	unheard   int // not answered: messages, not places
	late      int // places of those that were found nevertheless
	deletions int // answered +OK
	unsure    int // deletions not answered
}

func newLedger() *ledger {
	return &ledger{fates: map[place]fate{}, messages: map[string]*message{},
		removed: map[place]int{}}
}

// sending notes that the end of a message is about to be sent.
func (l *ledger) sending(m *message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.sent++
	l.count.unheard++
	l.messages[m.id] = m
	for _, box := range m.to {
		l.fates[place{box, m.id}] = unheard
	}
}

// replied notes the reply to the end of a message.
func (l *ledger) replied(m *message, code int, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.unheard--
	next := confirmed
	if code == 250 {
		l.count.answered++
	} else {
		l.count.refused++
		l.refusals = append(l.refusals, m.id+": "+strings.TrimSpace(text))
		if next = absent; l.doubtful {
			next = unheard
		}
	}
	for _, box := range m.to {
		// A reader may have deleted it already.
		if p := (place{box, m.id}); l.fates[p] == unheard {
			l.fates[p] = next
		}
	}
}

// quitting notes that a deletion is about to be asked for.
func (l *ledger) quitting(box string, ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.unsure += len(ids)
	for _, id := range ids {
		l.fates[place{box, id}] = leaving
	}
}

// quit notes that it was confirmed.
func (l *ledger) quit(box string, port int, ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count.unsure -= len(ids)
	l.count.deletions += len(ids)
	for _, id := range ids {
		l.fates[place{box, id}] = deleted
		l.removed[place{box, id}] = port
	}
}

// message returns what was sent under an id, nil if nothing was.
func (l *ledger) message(id string) *message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.messages[id]
}

// settle compares a mailbox, in which each id was found so many times, with
// what must be there, and returns what is wrong. No load may run. From now on
// what was open is as it was found.
func (l *ledger) settle(box string, found map[string]int) []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var wrong []error
	for id, n := range found {
		p := place{box, id}
		if n > 1 {
			wrong = append(wrong, fmt.Errorf("%s is in %s %d times", id, box, n))
		}
		switch l.fates[p] {
		case absent:
			wrong = append(wrong, fmt.Errorf("%s is in %s, but was refused, never sent whole or"+
				" not there before", id, box))
		case deleted:
			wrong = append(wrong, fmt.Errorf("%s is in %s again: its deletion was answered +OK",
				id, box))
		case unheard:
			l.count.late++
			l.fates[p] = confirmed
		case leaving:
			l.fates[p] = confirmed
		}
	}
	for p, f := range l.fates {
		if p.box != box || found[p.id] > 0 {
			continue
		}
		switch f {
		case confirmed:
			wrong = append(wrong, fmt.Errorf("%s is not in %s: it was answered 250", p.id, box))
		case leaving:
			l.fates[p] = deleted
		case unheard:
			l.fates[p] = absent
		}
	}
	return wrong
}

// places counts the messages that must be there, each in each mailbox.
func (l *ledger) places() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, f := range l.fates {
		if f == confirmed {
			n++
		}
	}
	return n
}
