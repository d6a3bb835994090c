// Package datadir finds, makes and locks the data directory: the one place
// where everything lives that a Postrider keeps.
//
// A directory is ours when it holds the file postrider.id, a random name
// made once. It has mode 0700. One lock, on postrider.lock, says who works
// in it: a running server, or a command that works directly. The lock is the
// operating system's, so that it ends with its holder, however that ends.
//
//	postrider.id     the mark, a random id
//	postrider.lock   locked by who works here
//	postrider.toml   settings that an administrator wrote by hand; optional
//	control.sock     where a running server listens for commands
//	control.addr     where it listens instead, if that path is too long
//	control.token    what a command must show there; mode 0600
//	secret.key       encrypts stored secrets; mode 0600; belongs in every backup
//	postrider.db     the database
//	state.json       accounts, domains and settings, to rebuild it from
//
// Settings say where the rest lies: volumes, certificates, logs.
package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"postrider/internal/durable"
	"postrider/internal/mail"
)

// Variable names the environment variable that tells where the directory is.
const Variable = "POSTRIDER_DATA"

// Local is the directory that serve makes in the working directory when
// nothing else is said.
const Local = "postrider-data"

const marker = "postrider.id"

// A Search says where to look for the data directory, in this order.
type Search struct {
	Flag      string // of --data; empty if not given
	Variable  string // value of $POSTRIDER_DATA; empty if not set
	Local     string // used if it exists and is ours
	Installed string // the place of an installed server, used if it exists
}

// Usual is the search that every command makes, with the value of --data.
func Usual(flag string) Search {
	return Search{
		Flag:      flag,
		Variable:  os.Getenv(Variable),
		Local:     Local,
		Installed: Installed(runtime.GOOS, os.Getenv),
	}
}

// Installed is where the server of a whole machine keeps its data.
func Installed(goos string, getenv func(string) string) string {
	switch goos {
	case "darwin":
		return "/Library/Application Support/Postrider"
	case "windows":
		base := getenv("ProgramData")
		if base == "" {
			base = `C:\ProgramData`
		}
		return filepath.Join(base, "Postrider")
	default:
		return "/var/lib/postrider"
	}
}

// Named is the directory that was asked for by flag or variable, or empty.
func (s Search) Named() string {
	if s.Flag != "" {
		return s.Flag
	}
	return s.Variable
}

// Find opens the directory that a command works on; it makes none.
// The error is of kind Unreachable if there is none.
func (s Search) Find() (*Dir, error) {
	if named := s.Named(); named != "" {
		return Open(named)
	}
	for _, path := range []string{s.Local, s.Installed} {
		d, err := Open(path)
		if err == nil {
			return d, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
	}
	return nil, mail.Errorf(mail.Unreachable, "there is no data directory here: neither ./"+
		s.Local+" nor "+s.Installed+"; start a server with \"postrider serve\", or say --data DIR")
}

// Place is the directory that serve and setup work on, which may not exist yet.
func (s Search) Place() string {
	if named := s.Named(); named != "" {
		return named
	}
	if _, err := Open(s.Local); err == nil {
		return s.Local
	}
	if info, err := os.Stat(s.Installed); err == nil && info.IsDir() {
		return s.Installed
	}
	return s.Local
}

// A Dir is a data directory that is ours. It may be used concurrently.
type Dir struct {
	path string // absolute
	id   string
}

// Open opens a data directory. The error is of kind Unreachable if it does
// not exist or is not ours.
func Open(path string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(abs, marker))
	id := strings.TrimSpace(string(data))
	switch {
	case err == nil && id != "":
		return &Dir{path: abs, id: id}, nil
	case err == nil:
		return nil, mail.Errorf(mail.Damaged, filepath.Join(abs, marker)+" is empty")
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(abs); err != nil {
			return nil, &mail.Error{Kind: mail.Unreachable, Err: err,
				Text: "there is no data directory " + path}
		}
		return nil, mail.Errorf(mail.Unreachable,
			path+" is not a data directory of Postrider: it has no file "+marker)
	default:
		return nil, &mail.Error{Kind: mail.Unreachable, Err: err,
			Text: "the data directory " + path + " cannot be read"}
	}
}

// Nascent says whether a server is just making this directory: it is locked
// before it is marked.
func Nascent(path string) bool {
	if _, err := os.Stat(filepath.Join(path, "postrider.lock")); err != nil {
		return false
	}
	_, err := os.Stat(filepath.Join(path, marker))
	return errors.Is(err, fs.ErrNotExist)
}

// Planned gives the paths of a directory that may not exist yet.
func Planned(path string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	return &Dir{path: abs}, err
}

// Make is MakeLocked without keeping the lock. Made says whether the
// directory is new.
func Make(path string) (d *Dir, made bool, err error) {
	if d, err := Open(path); err == nil {
		return d, false, d.complete()
	}
	d, lock, err := MakeLocked(path)
	if err != nil {
		return nil, false, err
	}
	return d, true, lock.Release()
}

// MakeLocked opens a data directory and takes its lock, and makes it if it
// does not exist or is empty. A directory that holds something else is
// refused (Conflict). A new one is marked as ours only when it is locked, so
// that nobody else begins to work in it first. The error is of kind Locked
// if another has the lock, and Unreachable if the system does not let it in.
func MakeLocked(path string) (*Dir, *Lock, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, err
	}
	d, err := Open(abs)
	if errors.Is(err, fs.ErrPermission) || mail.KindOf(err) == mail.Damaged {
		return nil, nil, err
	}
	fresh := err != nil
	if fresh {
		d = &Dir{path: abs, id: random(16)}
		if err := prepare(abs); err != nil {
			return nil, nil, err
		}
	}
	lock, err := d.Lock()
	if err != nil {
		return nil, nil, err
	}
	if err = d.complete(); err == nil {
		err = d.renewToken()
	}
	if fresh && err == nil {
		err = durable.WriteFile(filepath.Join(abs, marker), 0o600, durable.Bytes([]byte(d.id+"\n")))
	}
	if err != nil {
		lock.Release()
		return nil, nil, err
	}
	return d, lock, nil
}

// prepare makes an empty private directory.
func prepare(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return &mail.Error{Kind: mail.Unreachable, Err: err, Text: "cannot make the data directory"}
	}
	if err := usable(path); err != nil {
		return err
	}
	return os.Chmod(path, 0o700)
}

// usable refuses a directory with foreign files in it. What an administrator
// may have put there before, and what is left of an interrupted Make, is ours.
func usable(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return &mail.Error{Kind: mail.Unreachable, Err: err,
			Text: "the data directory " + path + " cannot be read"}
	}
	for _, e := range entries {
		switch e.Name() {
		case "lost+found", "postrider.toml", "postrider.lock", "control.token":
		default:
			return mail.Errorf(mail.Conflict, path+
				" is neither empty nor a data directory of Postrider; name another with --data")
		}
	}
	return nil
}

// complete makes what a directory may lack.
func (d *Dir) complete() error {
	return writeNew(d.tokenFile(), random(tokenSize)+"\n")
}

// Path is the absolute path of the directory.
func (d *Dir) Path() string { return d.path }

// ID is the random name that the directory was given when it was made.
func (d *Dir) ID() string { return d.id }

// Config is the settings file that is read if it exists and none is named.
func (d *Dir) Config() string { return filepath.Join(d.path, "postrider.toml") }

// Database is the path of the database.
func (d *Dir) Database() string { return filepath.Join(d.path, "postrider.db") }

// Snapshot is the file from which accounts, domains and settings come back
// when the database is lost.
func (d *Dir) Snapshot() string { return filepath.Join(d.path, "state.json") }

// Resolve gives a path of the settings, which means one in the data directory
// unless it is absolute.
func (d *Dir) Resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(d.path, path)
}

// SecretKeyFile holds the key that encrypts stored secrets.
func (d *Dir) SecretKeyFile() string { return filepath.Join(d.path, "secret.key") }

func (d *Dir) tokenFile() string { return filepath.Join(d.path, "control.token") }

func (d *Dir) lockFile() string { return filepath.Join(d.path, "postrider.lock") }
