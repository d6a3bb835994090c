// Package seal encrypts the secrets that must be kept in a form that can be
// read back, with a key that never enters the database: a file of 32 random
// bytes, mode 0600. Who has the database alone learns nothing; who loses the
// file loses these secrets, so a backup needs it too.
//
// A sealed value is a byte for the version (1), a nonce of 24 random bytes,
// and the ciphertext of XChaCha20-Poly1305 with its tag.
package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/chacha20poly1305"

	"postrider/internal/durable"
	"postrider/internal/mail"
)

// version is the first byte of every sealed value.
const version = 1

// Overhead is how many bytes a sealed value is longer than its plaintext.
const Overhead = 1 + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// A Key seals and opens. Its methods may be called concurrently.
type Key struct {
	aead cipher.AEAD
}

// New makes a key from 32 bytes.
func New(secret []byte) (*Key, error) {
	aead, err := chacha20poly1305.NewX(secret)
	if err != nil {
		return nil, mail.Errorf(mail.Invalid, "a secret key has 32 bytes")
	}
	return &Key{aead}, nil
}

// Make makes the file of a new key, unless there is one. Two that make it at
// the same time end up with one key.
func Make(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := create(path); err != nil {
		return fmt.Errorf("make secret key: %w", err)
	}
	return nil
}

// Load reads the key from its file. The error is fs.ErrNotExist if there is
// none. A file of the wrong size is Damaged; one that others may read is told
// as Denied where the system has such modes.
func Load(path string) (*Key, error) {
	secret, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read secret key: %w", err)
	}
	if len(secret) != chacha20poly1305.KeySize {
		return nil, mail.Errorf(mail.Damaged, path+" is not a secret key: want 32 bytes; "+
			"put the file back from your backup")
	}
	if err := checkMode(path); err != nil {
		return nil, err
	}
	return New(secret)
}

// create writes a new key durably and never over an existing file: a
// temporary file in the same directory is flushed, then linked.
func create(path string) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".secret-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	secret := make([]byte, chacha20poly1305.KeySize)
	rand.Read(secret) // never fails
	_, err = f.Write(secret)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := place(f.Name(), path); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// place gives the file its name unless another was faster. File systems
// without hard links get a rename.
func place(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return os.Rename(from, to)
}

// Seal encrypts plain. The context is not stored, but Open must be given the
// same: it binds a value to its place, such as an account and a purpose.
func (k *Key) Seal(plain, context []byte) []byte {
	out := make([]byte, 1+chacha20poly1305.NonceSizeX, len(plain)+Overhead)
	out[0] = version
	rand.Read(out[1:]) // never fails
	return k.aead.Seal(out, out[1:], plain, context)
}

// Open decrypts what Seal made. Damaged if the value was changed, or belongs
// to another key or context.
func (k *Key) Open(sealed, context []byte) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != version {
		return nil, errOpen
	}
	nonce := sealed[1 : 1+chacha20poly1305.NonceSizeX]
	plain, err := k.aead.Open(nil, nonce, sealed[1+len(nonce):], context)
	if err != nil {
		return nil, errOpen
	}
	return plain, nil
}

var errOpen = mail.Errorf(mail.Damaged, "a sealed secret cannot be opened: "+
	"it was changed, or secret.key is another one")
