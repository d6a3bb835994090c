// Package engine opens what stands on a data directory: settings, the key of
// secrets, volumes, database and logins. A server and a command that works
// directly open it the same way, so that each finds what the other left. The
// caller holds the directory's lock.
package engine

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"postrider/internal/auth"
	"postrider/internal/blob/volume"
	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/mail"
	"postrider/internal/message"
	"postrider/internal/seal"
	"postrider/internal/settings"
	"postrider/internal/store"
	"postrider/internal/store/audit"
	"postrider/internal/store/sqldb"
	"postrider/internal/store/sqlstore"
)

// Config says what to open and how.
type Config struct {
	Dir *datadir.Dir
	// File is the settings file. If empty, postrider.toml in the data
	// directory is read if it exists.
	File string
	Set  []string     // KEY=VALUE, stronger than everything
	Log  *slog.Logger // nil discards
	Now  func() time.Time
	// Fatal is told once that the database cannot be written any more.
	Fatal func(error)
	// Quiet switches background work off, for a command that soon ends.
	Quiet bool
	// AcceptRestore serves a database that is older than its volumes or the
	// state snapshot.
	AcceptRestore bool
	// Repair rebuilds a database that cannot be opened, from the volumes and
	// the state snapshot.
	Repair   bool
	Progress store.Progress // of a rebuild; may be nil
}

// An Engine is an open data directory. Its parts may be used concurrently.
type Engine struct {
	Dir      *datadir.Dir
	File     string // the settings file that was read; empty if none
	Settings *settings.Registry
	Key      *seal.Key
	Volumes  *volume.Store
	Store    *sqlstore.Store
	// Problems tells what was found wrong, and mended or passed over, while
	// opening.
	Problems []control.Problem
	// Warnings tells what the database says of settings and was passed over.
	Warnings []string

	cfg Config
}

// Settings reads the settings file and the flags, before anything else is
// opened; those of the database follow in Open.
func Settings(cfg Config) (reg *settings.Registry, file string, err error) {
	reg = settings.New()
	file = cfg.File
	if file == "" {
		file = cfg.Dir.Config()
	}
	content, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := reg.LoadFile(file, content); err != nil {
			return nil, "", err
		}
	case cfg.File == "" && errors.Is(err, fs.ErrNotExist):
		file = ""
	default:
		return nil, "", &mail.Error{Kind: mail.Invalid, Err: err,
			Text: "the settings file cannot be read"}
	}
	return reg, file, reg.SetFlags(cfg.Set)
}

// Open opens everything. On an error nothing stays open.
func Open(ctx context.Context, cfg Config) (e *Engine, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	e = &Engine{Dir: cfg.Dir, cfg: cfg}
	if e.Settings, e.File, err = Settings(cfg); err != nil {
		return nil, err
	}
	if err := e.openKey(); err != nil {
		return nil, err
	}
	if e.Volumes, err = volume.Open(volume.Config{
		Dirs:   e.volumeDirs(),
		After:  audit.LastVolume(ctx, sqldb.SQLite{}, cfg.Dir.Database()),
		Size:   e.Settings.Current().Size(settings.StoreVolumeSize),
		Memory: e.Settings.Current().Size(settings.StoreMemory),
		Log:    cfg.Log,
	}); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	if err := e.openStore(ctx); err != nil {
		e.Volumes.Close()
		return nil, err
	}
	if e.Warnings, err = e.Settings.Attach(ctx, e.Store, e.Key); err != nil {
		e.Store.Close()
		return nil, err
	}
	return e, nil
}

// openKey loads the key of secrets, and makes it for a new directory. In one
// that was used, a new key means that all the old one had sealed is lost: it
// is made only for a repair.
func (e *Engine) openKey() (err error) {
	path := e.Dir.SecretKeyFile()
	e.Key, err = seal.Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if e.used() {
		if !e.cfg.Repair {
			return lostKey(path)
		}
		e.problem("the key of stored secrets is lost and a new one was made", path, true)
	}
	if err := seal.Make(path); err != nil {
		return err
	}
	e.Key, err = seal.Load(path)
	return err
}

// used says whether secrets may have been sealed in this directory before.
func (e *Engine) used() bool {
	for _, path := range []string{e.Dir.Database(), e.Dir.Snapshot()} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

func (e *Engine) volumeDirs() []string {
	var dirs []string
	for _, dir := range e.Settings.Current().List(settings.StoreVolumes) {
		dirs = append(dirs, e.Dir.Resolve(dir))
	}
	return dirs
}

func (e *Engine) openStore(ctx context.Context) (err error) {
	cfg := sqlstore.Config{
		Path:          e.Dir.Database(),
		Blobs:         e.Volumes,
		Log:           e.cfg.Log,
		Now:           e.cfg.Now,
		Reparse:       reparse,
		Fatal:         e.cfg.Fatal,
		AcceptRestore: e.cfg.AcceptRestore,
		TraceKeep:     e.traceKeep,
		TraceMax:      e.traceMax,
		Snapshot:      e.Dir.Snapshot(),
		Quiet:         e.cfg.Quiet,
	}
	e.Store, err = openDatabase(ctx, cfg)
	if errors.Is(err, audit.ErrAbsent) {
		if err = e.absent(err); e.cfg.Repair {
			e.problem(err.Error()+": their messages are lost", cfg.Path, true)
			cfg.AcceptAbsent = true
			e.Store, err = openDatabase(ctx, cfg)
		}
	}
	switch {
	case err == nil, !unusable(err):
		return err
	case !e.cfg.Repair && mail.KindOf(err) != mail.Damaged:
		return &mail.Error{Kind: mail.Damaged, Err: err, Text: "the database cannot be read; put it " +
			"back from your backup, or run \"postrider check --repair\", which makes it anew from the " +
			"volumes and the state snapshot"}
	case !e.cfg.Repair:
		return err
	}
	e.problem("the database could not be used: "+err.Error(), cfg.Path, true)
	if mail.KindOf(err) == mail.Damaged {
		// Sound but older than its volumes or the state snapshot: what it knows
		// of flags and deletions is worth keeping.
		older := cfg
		older.AcceptRestore = true
		if e.Store, err = openDatabase(ctx, older); err == nil {
			e.problem("the database took in what the volumes and the state snapshot have and it had "+
				"not; every mailbox got a new UIDVALIDITY", cfg.Path, true)
			e.unowned(e.Store.Unowned())
			return nil
		}
	}
	made, err := sqlstore.Rebuild(ctx, cfg, e.cfg.Progress)
	if err != nil {
		return err
	}
	if made.Aside != "" {
		e.problem("the old database was put aside", made.Aside, true)
	}
	e.problem("the database was rebuilt from the volumes; flags, deletions and moves since "+
		"delivery are not known any more", cfg.Path, true)
	e.unowned(made.Unowned)
	e.Store, err = openDatabase(ctx, cfg)
	return err
}

// unowned tells of mail that has no owner after a repair.
func (e *Engine) unowned(messages int64) {
	if messages > 0 {
		e.problem(fmt.Sprintf("%d messages in the volumes are of accounts that neither the database "+
			"nor the state snapshot knows; they are kept for a day", messages), e.Dir.Database(), false)
	}
}

// openDatabase is sqlstore.Open, which makes a database that is missing; if
// it then finds that it was lost, the new one must not be taken for an old one.
func openDatabase(ctx context.Context, cfg sqlstore.Config) (*sqlstore.Store, error) {
	_, before := os.Stat(cfg.Path)
	s, err := sqlstore.Open(ctx, cfg)
	if err != nil && errors.Is(before, fs.ErrNotExist) {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			os.Remove(cfg.Path + suffix)
		}
	}
	return s, err
}

// absent explains that volumes are missing.
func (e *Engine) absent(err error) error {
	var suspects []string
	list := e.volumeDirs()
	for i, dir := range e.Volumes.Former() {
		suspects = append(suspects, fmt.Sprintf("%s was number %d of the list and is not in it", dir,
			len(list)+i))
	}
	full := make([]bool, len(list))
	for _, v := range e.Volumes.Volumes() {
		full[v.Group] = full[v.Group] || v.Size > emptyVolume
	}
	for i, dir := range list {
		if !full[i] {
			suspects = append(suspects, dir+" holds no mail")
		}
	}
	hint := ""
	if len(suspects) > 0 {
		hint = ": " + strings.Join(suspects, "; ")
	}
	return &mail.Error{Kind: mail.Damaged, Err: err, Text: "store.volumes lacks a directory, or a " +
		"disk is not mounted" + hint + ". Bring it back; if it is lost, run \"postrider check " +
		"--repair\", which goes on without its messages"}
}

// emptyVolume is the size in bytes of a volume without messages.
const emptyVolume = 4096

// What SQLite says of a file that it cannot use; the primary result codes of
// sqlite.org/rescode.html.
const (
	sqliteCorrupt = 11
	sqliteNotADB  = 26
)

// unusable says whether a database is lost, so that a new one may take its
// place. A full disk or missing rights are no reason for that.
func unusable(err error) bool {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		code := coded.Code() & 0xff
		return code == sqliteCorrupt || code == sqliteNotADB
	}
	return mail.KindOf(err) == mail.Damaged
}

func (e *Engine) traceKeep() time.Duration {
	return e.Settings.Current().Duration(settings.TraceKeep)
}

func (e *Engine) traceMax() int64 { return e.Settings.Current().Size(settings.TraceMaxSize) }

func (e *Engine) problem(what, where string, repaired bool) {
	e.Problems = append(e.Problems, control.Problem{What: what, Where: where, Repaired: repaired})
}

// reparse makes the parsed form of a message; one that defies parsing has none.
func reparse(r io.ReaderAt, size int64) (format int, parsed []byte) {
	m, err := message.Parse(context.Background(), r, size, message.Limits{})
	if err != nil {
		return 0, nil
	}
	return message.FormVersion, m.AppendForm(nil)
}

// Auth is the configuration of an Authenticator on this directory. A server
// adds its certificate and log.
func (e *Engine) Auth() auth.Config {
	return auth.Config{
		Store:  e.Store,
		Policy: e.policy,
		Seal:   e.Key,
		Secret: e.saltSecret(),
		Now:    e.cfg.Now,
	}
}

func (e *Engine) policy() auth.Policy {
	v := e.Settings.Current()
	return auth.Policy{
		ClearText:   auth.ClearText(v.String(settings.AuthPlaintext)),
		SCRAMSHA1:   v.Bool(settings.AuthSCRAMSHA1),
		NoBinding:   !v.Bool(settings.AuthBinding),
		SCRAMRounds: v.Int(settings.AuthSCRAMRounds),
		Remember:    v.Duration(settings.AuthCacheTime),
		FirstDelay:  v.Duration(settings.AuthDelay),
		MaxDelay:    v.Duration(settings.AuthDelayMax),
		Forgive:     v.Duration(settings.AuthDelayForget),
		Exempt:      v.Prefixes(settings.LimitsExempt),
	}
}

// saltSecret is derived from the key file, so that it stays the same. If that
// cannot be read, auth draws one.
func (e *Engine) saltSecret() []byte {
	content, err := os.ReadFile(e.Dir.SecretKeyFile())
	if err != nil {
		return nil
	}
	secret, err := hkdf.Key(sha256.New, content, nil, "postrider salts of unknown users", sha256.Size)
	if err != nil {
		return nil
	}
	return secret
}

// Control makes the operations on this directory. Host is nil where no server
// runs.
func (e *Engine) Control(passwords control.Passwords, host control.Host,
	log *slog.Logger) *control.Control {
	return control.New(control.Config{
		Store:     e.Store,
		Passwords: passwords,
		Settings:  e.Settings,
		Host:      host,
		Problems:  e.Problems,
		Secrets:   e.Secrets,
		Log:       log,
		Now:       e.cfg.Now,
	})
}

// Close closes the database and the volumes.
func (e *Engine) Close() error { return e.Store.Close() }
