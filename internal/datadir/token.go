package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	return writeFile(path, []byte(content), 0o600)
}

// writeFile puts a file in place so that after a crash there is either the
// old one or the new one, whole.
func writeFile(path string, content []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(mode); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
