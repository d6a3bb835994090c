package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strings"

	"postrider/internal/durable"
	"postrider/internal/mail"
)

// tokenSize is how much randomness the token has, in bytes.
const tokenSize = 32

// Token is what a command must show at the control socket.
func (d *Dir) Token() (string, error) {
	data, err := os.ReadFile(d.tokenFile())
	if err != nil {
		return "", &mail.Error{Kind: mail.Unreachable, Err: err,
			Text: "cannot read the control token"}
	}
	token := strings.TrimSpace(string(data))
	if len(token) < 2*tokenSize {
		return "", mail.Errorf(mail.Damaged, d.tokenFile()+
			" is damaged; remove it and start the server again")
	}
	return token, nil
}

// renewToken makes a new token if others could read this one. The caller has
// the lock, so that no server knows the old one.
func (d *Dir) renewToken() error {
	if open, err := exposed(d.tokenFile()); err != nil || !open {
		return err
	}
	return durable.WriteFile(d.tokenFile(), 0o600, durable.Bytes([]byte(random(tokenSize)+"\n")))
}

func random(size int) string {
	b := make([]byte, size)
	rand.Read(b) // never fails: see its documentation
	return hex.EncodeToString(b)
}

// writeNew writes a private file unless it is there already.
func writeNew(path, content string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.WriteFile(path, 0o600, durable.Bytes([]byte(content)))
}
