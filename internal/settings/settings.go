// Package settings is the one registry of everything that can be set. Each
// key has a type, a default, bounds and a help text; the configuration file,
// the command line, the pages and the reference manual are all made from it.
//
// A value comes from one of four sources, each above the one before: the
// default, the database, the configuration file (TOML), and --set on the
// command line. What file or command line say cannot be changed while they
// say it.
//
// The registry is made once at the start. Its readers take Current, which
// never blocks; changes are made one at a time and told to subscribers.
package settings

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"postrider/internal/mail"
)

// A Source is where a value comes from.
type Source uint8

// The sources, the weakest first.
const (
	Default Source = iota
	Database
	File
	Flag
	sources
)

// String gives the source's name as people read it.
func (s Source) String() string {
	return [...]string{"default", "database", "file", "command line"}[s]
}

// A Store keeps settings for all nodes; the database is one.
type Store interface {
	Settings(ctx context.Context) (map[string]string, error)
	// WriteSettings makes all changes or none; a nil value resets.
	WriteSettings(ctx context.Context, changes map[string]*string) error
}

// A Sealer encrypts secrets before they go to the database, and back. The
// context is bound to the ciphertext: it opens under the same one only.
type Sealer interface {
	Seal(plain, context []byte) []byte
	Open(sealed, context []byte) ([]byte, error)
}

// sealedPrefix marks a sealed value in the database.
const sealedPrefix = "sealed:"

// A setting is a value that a source gives.
type setting struct {
	slot
	where string // "FILE:LINE" or "--set"
}

// A Registry holds the values of all keys and where they come from. Its
// methods may be called concurrently.
type Registry struct {
	names   map[string]int
	current atomic.Pointer[Values]

	mu      sync.Mutex // held while a change is made, also over the database's write
	layers  layers
	store   Store
	sealer  Sealer
	started *Values      // the state that keys with Restart were read from
	sealed  map[int]bool // secrets in the database that the key does not open
	subs    []*subscriber
	guards  []guard
}

// layers are what each source says.
type layers [sources]map[int]setting

type subscriber struct{ hear func(from, to *Values) }

// New makes a registry with every key at its default.
func New() *Registry {
	r := &Registry{names: make(map[string]int, count)}
	v := new(Values)
	for i := range table {
		k := &table[i]
		s, _ := k.parse(k.Default) // a test proves every default right
		v.slots[i] = s
		r.names[k.Name] = i
	}
	r.layers[Default] = make(map[int]setting)
	r.current.Store(v)
	return r
}

// Keys lists all keys, in the order of the reference manual.
func Keys() []*Key {
	keys := make([]*Key, count)
	for i := range table {
		keys[i] = &table[i]
	}
	return keys
}

// Lookup finds a key by name. NotFound, with the nearest name, if there is
// none.
func (r *Registry) Lookup(name string) (*Key, error) {
	i, err := r.index(name)
	if err != nil {
		return nil, err
	}
	return &table[i], nil
}

func (r *Registry) index(name string) (int, error) {
	if i, ok := r.names[name]; ok {
		return i, nil
	}
	return 0, mail.Errorf(mail.NotFound, unknown(name))
}

// Current is the state of all settings now. It is one atomic load.
func (r *Registry) Current() *Values { return r.current.Load() }

// SetFlags takes the --set flags, each "KEY=VALUE", in place of earlier ones;
// the last of several for a key holds. On an error nothing has changed.
func (r *Registry) SetFlags(flags []string) error {
	layer := make(map[int]setting)
	for _, f := range flags {
		name, text, ok := strings.Cut(f, "=")
		name = strings.TrimSpace(name)
		if !ok {
			return mail.Errorf(mail.Invalid, "--set "+f[:min(len(f), maxName)]+": want --set KEY=VALUE")
		}
		i, err := r.index(name)
		if err != nil {
			return mail.Errorf(mail.Invalid, "--set: "+err.Error()+
				" (\"postrider settings\" lists all)")
		}
		s, wrong := table[i].parse(text)
		if wrong != "" {
			return mail.Errorf(mail.Invalid, "--set "+table[i].complain(text, wrong))
		}
		layer[i] = setting{s, "--set"}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.layers[Flag] = layer
	r.rebuild()
	return nil
}

// LoadFile takes the content of the configuration file in place of what an
// earlier one said. The name is for messages. An error of kind Invalid lists
// every mistake, one a line, as "FILE:LINE: what is wrong and what would be
// right"; then nothing has changed.
func (r *Registry) LoadFile(name string, content []byte) error {
	layer, err := r.parseFile(name, content)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.layers[File] = layer
	r.rebuild()
	return nil
}

// Attach gives the registry its database, once it is open, and takes the
// values from there. Rows that this version does not know or understand
// are passed over and told as problems, so that they never keep a server
// from starting. The sealer may be nil: secrets can then not be set.
func (r *Registry) Attach(ctx context.Context, s Store, key Sealer) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.store, r.sealer = s, key
	return r.reload(ctx)
}

// Refresh reads the database again, for changes that other nodes made.
// Problems are those of Attach.
func (r *Registry) Refresh(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.store == nil {
		return nil, errNoStore
	}
	return r.reload(ctx)
}

var errNoStore = mail.Errorf(mail.Conflict, "the database is not open: settings cannot be changed")

func (r *Registry) reload(ctx context.Context) ([]string, error) {
	rows, err := r.store.Settings(ctx)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	var problems []string
	layer, sealed := make(map[int]setting, len(rows)), map[int]bool{}
	for name, text := range rows {
		i, ok := r.names[name]
		if !ok {
			problems = append(problems, "database: "+unknown(name)+"; it is passed over")
			continue
		}
		s, wrong := r.fromRow(&table[i], text)
		if wrong != "" {
			problems = append(problems, "database: "+table[i].complain(text, wrong)+
				"; it is passed over")
			if table[i].Type == Secret {
				sealed[i] = true
			}
			continue
		}
		layer[i] = setting{s, "database"}
	}
	slices.Sort(problems)
	r.layers[Database], r.sealed = layer, sealed
	r.rebuild()
	return problems, nil
}

// Sealed names the secrets that the database has and this key does not open,
// in the order of the reference manual. They hold no value until they are set
// anew or reset; what they guard must stay closed.
func (r *Registry) Sealed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for i := range table {
		if r.sealed[i] {
			names = append(names, table[i].Name)
		}
	}
	return names
}

// fromRow reads a value as the database has it.
func (r *Registry) fromRow(k *Key, text string) (slot, string) {
	if k.Type == Secret {
		sealed, ok := strings.CutPrefix(text, sealedPrefix)
		raw, err := base64.StdEncoding.DecodeString(sealed)
		if !ok || err != nil {
			return slot{}, "is not sealed"
		}
		if r.sealer == nil {
			return slot{}, "cannot be opened without the secret key"
		}
		plain, err := r.sealer.Open(raw, []byte(k.Name))
		if err != nil {
			return slot{}, "cannot be opened with this secret key"
		}
		text = string(plain)
	}
	return k.parse(text)
}

// toRow gives a value as the database shall have it.
func (r *Registry) toRow(k *Key, s slot) (string, error) {
	if k.Type != Secret {
		return s.text, nil
	}
	if r.sealer == nil {
		return "", mail.Errorf(mail.Conflict, k.Name+" cannot be kept without the secret key")
	}
	sealed := r.sealer.Seal([]byte(s.text), []byte(k.Name))
	return sealedPrefix + base64.StdEncoding.EncodeToString(sealed), nil
}

// effective tells which source holds for a key; mu is held.
func (r *Registry) effective(i int) (Source, setting) { return r.layers.effective(i) }

func (l *layers) effective(i int) (Source, setting) {
	for s := Flag; s > Default; s-- {
		if v, ok := l[s][i]; ok {
			return s, v
		}
	}
	s, _ := table[i].parse(table[i].Default)
	return Default, setting{s, "default"}
}

// valuesOf is the state that layers make together.
func valuesOf(l layers) *Values {
	v := new(Values)
	for i := range table {
		_, s := l.effective(i)
		v.slots[i] = s.slot
	}
	return v
}

// rebuild makes the current state from the layers and tells subscribers; mu
// is held.
func (r *Registry) rebuild() {
	from, to := r.current.Load(), valuesOf(r.layers)
	if len(to.Changed(from)) == 0 {
		return
	}
	r.current.Store(to)
	for _, s := range r.subs {
		s.hear(from, to)
	}
}

// Subscribe has hear called after each change, in order, by the goroutine
// that makes it. Hear must be quick and must not call the registry, except
// for Current. Cancel ends it.
func (r *Registry) Subscribe(hear func(from, to *Values)) (cancel func()) {
	s := &subscriber{hear}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subs = append(r.subs, s)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.subs = slices.DeleteFunc(r.subs, func(o *subscriber) bool { return o == s })
	}
}

// Started remembers the current state as the one the server started with.
func (r *Registry) Started() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = r.current.Load()
}

// NeedRestart names the keys that were changed since Started and take effect
// at the next start only.
func (r *Registry) NeedRestart() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started == nil {
		return nil
	}
	return slices.DeleteFunc(r.current.Load().Changed(r.started), func(name string) bool {
		return !table[r.names[name]].Restart
	})
}

// complain tells what is wrong with a value and what would be right. A
// secret is not repeated.
func (k *Key) complain(text, wrong string) string {
	if k.Type == Secret {
		return k.Name + ": the value " + wrong
	}
	if len(text) > 100 {
		text = text[:100] + "…"
	}
	if !strings.HasPrefix(wrong, `"`) || !k.Type.isList() {
		wrong = strconv.Quote(text) + " " + wrong
	}
	return k.Name + ": " + wrong + "; want " + k.want()
}
