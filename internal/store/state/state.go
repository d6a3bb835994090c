// Package state is the snapshot of accounts, domains and settings beside the
// database: a line with everything but the accounts, then a line for each of
// them, as JSON. From it and from the volumes a database can be made again.
package state

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"postrider/internal/durable"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// A Snapshot is what check --repair cannot find in the volumes. It is
// written as JSON, mode 0600, because it holds password hashes.
type Snapshot struct {
	Version int       `json:"version"`
	Written time.Time `json:"written"`
	// Generation counts the changes of accounts, domains and settings. A
	// database beside the snapshot that knows fewer is an older one.
	Generation int64             `json:"generation"`
	Next       int64             `json:"last_account"`
	LastID     int64             `json:"last_id"`
	Domains    []store.Domain    `json:"domains"`
	Accounts   []Account         `json:"-"` // each on a line of its own
	Settings   map[string]string `json:"settings"`
}

// An Account is a line of the snapshot.
type Account struct {
	store.Account
	Credentials []store.Credential `json:"credentials"`
	Mailboxes   []Mailbox          `json:"mailboxes"`
}

// A Mailbox is what must be known of one when its messages are found again.
type Mailbox struct {
	ID          mail.MailboxID `json:"id"`
	Name        string         `json:"name"`
	UIDValidity uint32         `json:"uidvalidity"`
}

const version = 1

// Write replaces the snapshot at path, durably. Accounts are those that each
// calls its argument with; they are not kept in memory.
func Write(path string, snap *Snapshot, each func(func(*Account) error) error) error {
	snap.Version = version
	return durable.WriteFile(path, 0o600, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 64<<10)
		enc := json.NewEncoder(out)
		if err := enc.Encode(snap); err != nil {
			return err
		}
		if err := each(func(a *Account) error { return enc.Encode(a) }); err != nil {
			return err
		}
		return out.Flush()
	})
}

// ReadHead reads a snapshot without its accounts. Errors are those of Read,
// as far as it reads.
func ReadHead(path string) (*Snapshot, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	snap := new(Snapshot)
	err = json.NewDecoder(bufio.NewReader(f)).Decode(snap)
	if err != nil || snap.Version != version {
		return nil, damaged(path, err)
	}
	return snap, nil
}

func damaged(path string, err error) error {
	return &mail.Error{Kind: mail.Damaged, Text: "the state snapshot " + path, Err: err}
}

// Read reads a snapshot. The error is fs.ErrNotExist if there is none, of kind
// Damaged if it is not whole.
func Read(path string) (*Snapshot, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	snap := new(Snapshot)
	dec := json.NewDecoder(bufio.NewReader(f))
	err = dec.Decode(snap)
	for err == nil {
		var a Account
		if err = dec.Decode(&a); err == nil {
			snap.Accounts = append(snap.Accounts, a)
		}
	}
	if !errors.Is(err, io.EOF) || snap.Version != version {
		return nil, damaged(path, err)
	}
	return snap, nil
}
