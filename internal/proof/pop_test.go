package proof

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"

	"postrider/internal/trial"
)

// dialPOP logs in.
func dialPOP(address, box string) (*trial.POP, error) {
	return trial.DialPOP(address, box, trial.Password)
}

// A memory knows which message stands behind each unique id, so that the
// same bytes need not be read again and again. It belongs to one mailbox.
type memory map[string]string

// inspect reads a mailbox, settles it with the ledger and returns what is
// wrong. Messages in known are not read again.
func (l *ledger) inspect(address, box string, known memory) []error {
	f, err := dialPOP(address, box)
	if err != nil {
		return []error{fmt.Errorf("%s: %w", box, err)}
	}
	defer f.Conn.Close()
	uids, err := f.UIDL()
	if err != nil {
		return []error{fmt.Errorf("%s: %w", box, err)}
	}
	var wrong []error
	var fresh []int
	found := map[string]int{}
	for i, uid := range uids {
		if id, ok := known[uid]; ok {
			found[id]++
		} else {
			fresh = append(fresh, i+1)
		}
	}
	err = f.Retrieve(fresh, func(n int, text []byte) {
		id, err := l.recognize(text)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s, message %d: %w", box, n, err))
			return
		}
		known[uids[n-1]] = id
		found[id]++
	})
	if err == nil {
		err = f.Quit()
	}
	if err != nil {
		return append(wrong, fmt.Errorf("%s: %w", box, err))
	}
	return append(wrong, l.settle(box, found)...)
}

// identify reads a mailbox only to know its messages.
func (l *ledger) identify(address, box string) (memory, error) {
	f, err := dialPOP(address, box)
	if err != nil {
		return nil, err
	}
	defer f.Conn.Close()
	uids, err := f.UIDL()
	if err != nil {
		return nil, err
	}
	known := memory{}
	all := make([]int, len(uids))
	for i := range all {
		all[i] = i + 1
	}
	var wrong error
	err = f.Retrieve(all, func(n int, text []byte) {
		id, err := l.recognize(text)
		if err != nil {
			wrong = err
		}
		known[uids[n-1]] = id
	})
	if err == nil {
		err = f.Quit()
	}
	return known, errors.Join(err, wrong)
}

// recognize finds out which message this is, and that it has the bytes that
// were sent, behind what the server puts on top.
func (l *ledger) recognize(text []byte) (id string, err error) {
	at := bytes.Index(text, []byte(idField))
	if at < 0 {
		return "", fmt.Errorf("not one of ours: %.200q", text)
	}
	text = text[at:]
	line, _, _ := bytes.Cut(text[len(idField):], []byte("\r\n"))
	id = string(line)
	m := l.message(id)
	if m == nil {
		return "", fmt.Errorf("%s was never sent whole", id)
	}
	if sha256.Sum256(text) != m.sum {
		return "", fmt.Errorf("%s has other bytes than were sent (%d, sent about %d)", id,
			len(text), m.size)
	}
	return id, nil
}

// remove deletes some messages of a mailbox that are in known, as a reader
// does it: DELE for each, then QUIT.
func (l *ledger) remove(address, box string, known memory, some func(n int) []int) error {
	f, err := dialPOP(address, box)
	if err != nil {
		return err
	}
	defer f.Conn.Close()
	uids, err := f.UIDL()
	if err != nil {
		return err
	}
	var ids []string
	for _, i := range some(len(uids)) {
		id, ok := known[uids[i]]
		if !ok {
			continue
		}
		if _, err := f.Ask("DELE %d\r\n", i+1); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	l.quitting(box, ids)
	port := f.Conn.LocalAddr().(*net.TCPAddr).Port
	if err := f.Quit(); err != nil {
		return err
	}
	l.quit(box, port, ids)
	return nil
}
