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

// Bytes of randomness in the token and in the key.
const (
	tokenSize = 32
	keySize   = 32
)

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

// SecretKey is the key that encrypts stored secrets, 32 bytes. The error is
// of kind NotFound when the file is lost.
func (d *Dir) SecretKey() ([]byte, error) {
	data, err := os.ReadFile(d.SecretKeyFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, mail.Errorf(mail.NotFound, d.SecretKeyFile()+" is missing: put it back from "+
			"the backup, or let \"postrider check --repair\" make a new one and set the passwords "+
			"of accounts with APOP again")
	}
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(data)))
	if err != nil || len(key) != keySize {
		return nil, mail.Errorf(mail.Damaged, d.SecretKeyFile()+" is damaged: put it back from the backup")
	}
	return key, nil
}

// RenewSecretKey makes a key if the file is lost, and says whether it did.
// What the old key encrypted can no longer be read.
func (d *Dir) RenewSecretKey() (bool, error) {
	if _, err := os.Stat(d.SecretKeyFile()); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, writeNew(d.SecretKeyFile(), random(keySize)+"\n")
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
