package settings

import (
	"context"
	"maps"
	"slices"
	"strings"

	"postrider/internal/mail"
)

// An Explanation tells everything about one key's value. Secrets are masked.
type Explanation struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Source  string `json:"source"` // "default", "database", "file", "command line"
	Where   string `json:"where"`  // "FILE:LINE", "--set", "database", "default"
	Fixed   bool   `json:"fixed"`  // by file or command line: it cannot be changed here
	Default string `json:"default"`
	// Stored is what the database says, if a stronger source holds.
	Stored  string `json:"stored,omitempty"`
	Type    string `json:"type"`
	Want    string `json:"want"` // what right values are
	Scope   string `json:"scope"`
	Restart bool   `json:"restart"` // a change takes effect at the next start
	Pending bool   `json:"pending"` // it was changed since the start and waits for that
	Help    string `json:"help"`
}

// masked stands for a secret that is set.
const masked = "(secret)"

func (k *Key) show(text string) string {
	if k.Type == Secret && text != "" {
		return masked
	}
	return text
}

// Explain tells the value of a key and which source holds. NotFound for an
// unknown name.
func (r *Registry) Explain(name string) (Explanation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, err := r.index(name)
	if err != nil {
		return Explanation{}, err
	}
	return r.explain(i), nil
}

// List explains every key, in the order of the reference manual.
func (r *Registry) List() []Explanation {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Explanation, count)
	for i := range list {
		list[i] = r.explain(i)
	}
	return list
}

func (r *Registry) explain(i int) Explanation {
	k := &table[i]
	source, v := r.effective(i)
	e := Explanation{
		Name: k.Name, Value: k.show(v.text), Source: source.String(), Where: v.where,
		Fixed: source > Database || k.Boot, Default: k.Default, Type: k.Type.String(),
		Want: k.want(), Scope: k.Scope.String(), Restart: k.Restart, Help: k.Help,
	}
	if stored, ok := r.layers[Database][i]; ok && source > Database {
		e.Stored = k.show(stored.text)
	}
	if k.Restart && r.started != nil {
		e.Pending = r.started.slots[i].text != v.text
	}
	return e
}

// A Change is one difference that a change of settings makes, or would make.
// Secrets are masked.
type Change struct {
	Name    string `json:"name"`
	Old     string `json:"old"`
	New     string `json:"new"`     // as Old if it was set to its default and is reset
	Reset   bool   `json:"reset"`   // the key goes back to its default
	Restart bool   `json:"restart"` // it takes effect at the next start, and that differs
}

// An Assignment is a key with the value that it shall have.
type Assignment struct {
	Name  string `json:"key"`
	Value string `json:"value"`
}

// Set changes one key in the database; errors are those of SetAll. The change
// is nil if the value is the same already.
func (r *Registry) Set(ctx context.Context, name, text string) (*Change, error) {
	return first(r.SetAll(ctx, []Assignment{{name, text}}))
}

// SetAll changes keys in the database, all or none; they take effect at once
// where no restart is needed. NotFound for an unknown key, Invalid for a wrong
// value or a key that is there twice, Conflict if a file or flag fixes a key,
// or the error of a guard. It returns the changes in the order of the
// reference manual, without those whose value is the same already.
func (r *Registry) SetAll(ctx context.Context, list []Assignment) ([]Change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := make(map[int]*slot, len(list))
	for _, a := range list {
		i, err := r.want(wanted, a.Name)
		if err != nil {
			return nil, err
		}
		s, wrong := table[i].parse(a.Value)
		if wrong != "" {
			return nil, mail.Errorf(mail.Invalid, table[i].complain(a.Value, wrong))
		}
		if err := r.mayChange(i); err != nil {
			return nil, err
		}
		wanted[i] = &s
	}
	return r.write(ctx, wanted)
}

// Reset removes one key from the database, so that its default holds. Errors
// are those of Set.
func (r *Registry) Reset(ctx context.Context, name string) (*Change, error) {
	return first(r.ResetAll(ctx, []string{name}))
}

// ResetAll removes keys from the database, all or none. Errors are those of
// SetAll.
func (r *Registry) ResetAll(ctx context.Context, names []string) ([]Change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := make(map[int]*slot, len(names))
	for _, name := range names {
		i, err := r.want(wanted, name)
		if err != nil {
			return nil, err
		}
		if err := r.mayChange(i); err != nil {
			return nil, err
		}
		wanted[i] = nil
	}
	return r.write(ctx, wanted)
}

// want finds a key that is not wanted already.
func (r *Registry) want(wanted map[int]*slot, name string) (int, error) {
	i, err := r.index(name)
	if err != nil {
		return 0, err
	}
	if _, twice := wanted[i]; twice {
		return 0, mail.Errorf(mail.Invalid, name+" is named twice")
	}
	return i, nil
}

func first(changes []Change, err error) (*Change, error) {
	if err != nil || len(changes) == 0 {
		return nil, err
	}
	return &changes[0], nil
}

// Guard has try called before Set, Reset or Apply change a key whose name
// begins with prefix, with the state now and the one that the change leads to.
// An error of try refuses the change as a whole. It is for what only the world
// outside can tell, such as whether a file can be read. Try must not call the
// registry.
func (r *Registry) Guard(prefix string, try func(from, to *Values) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.guards = append(r.guards, guard{prefix, try})
}

type guard struct {
	prefix string
	try    func(from, to *Values) error
}

// tryChange asks the guards about a new state.
func (r *Registry) tryChange(to *Values) error {
	from := r.current.Load()
	names := to.Changed(from)
	for _, g := range r.guards {
		concerned := slices.ContainsFunc(names, func(name string) bool {
			return strings.HasPrefix(name, g.prefix)
		})
		if !concerned {
			continue
		}
		if err := g.try(from, to); err != nil {
			return err
		}
	}
	return nil
}

// mayChange refuses a key that something stronger than the database fixes.
func (r *Registry) mayChange(i int) error {
	name := table[i].Name
	switch source, v := r.effective(i); {
	case source == Flag:
		return mail.Errorf(mail.Conflict, name+" is fixed by --set on the server's command line")
	case source == File:
		return mail.Errorf(mail.Conflict, name+" is fixed by "+v.where+"; change it there")
	case table[i].Boot:
		return mail.Errorf(mail.Conflict, name+" is needed before the database is open; "+
			"write it into the configuration file")
	case r.store == nil:
		return errNoStore
	}
	return nil
}

// ApplyOptions say how Apply works.
type ApplyOptions struct {
	Replace bool // reset what the file does not name
	DryRun  bool // only tell the changes
}

// An Applied tells what Apply has changed, or would change.
type Applied struct {
	Changes []Change // in the order of the reference manual
	// Notes are sentences, without a full stop, about what was left as it is.
	Notes []string
}

// Apply sets in the database what a configuration file names, all or
// nothing. Keys that are fixed elsewhere may be named with the value they
// have; any other value is refused (Conflict). Mistakes are listed as by
// LoadFile. Two things are left alone and noted, so that what Export wrote can
// be applied anywhere: keys that a file must fix, because they are needed
// before the database is open; and with Replace secrets that the file does not
// name, because no export has them.
func (r *Registry) Apply(
	ctx context.Context, name string, content []byte, o ApplyOptions,
) (Applied, error) {
	var a Applied
	layer, err := r.parseFile(name, content)
	if err != nil {
		return a, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.store == nil {
		return a, errNoStore
	}
	wanted := make(map[int]*slot)
	for i := range table {
		v, named := layer[i]
		var note string
		switch {
		case named:
			note, err = r.wantNamed(wanted, i, v)
		case o.Replace:
			note = r.wantDefault(wanted, i)
		}
		if err != nil {
			return Applied{}, err
		}
		if note != "" {
			a.Notes = append(a.Notes, note)
		}
	}
	if o.DryRun {
		a.Changes, err = r.changes(wanted), r.tryChange(valuesOf(r.layersWith(wanted)))
	} else {
		a.Changes, err = r.write(ctx, wanted)
	}
	return a, err
}

// wantNamed wants what a file says of a key, unless it says nothing new.
func (r *Registry) wantNamed(wanted map[int]*slot, i int, v setting) (note string, err error) {
	k := &table[i]
	source, now := r.effective(i)
	switch {
	case now.text == v.text && (source > Database || k.Boot):
		return "", nil
	case k.Boot:
		return v.where + ": " + k.Name + " is needed before the database is open and was passed " +
			"over; it belongs into the configuration file", nil
	}
	if err := r.mayChange(i); err != nil {
		return "", mail.Errorf(mail.Conflict, v.where+": "+err.Error())
	}
	wanted[i] = &v.slot
	return "", nil
}

// wantDefault wants no value in the database for a key that a file does not
// name. A secret is kept.
func (r *Registry) wantDefault(wanted map[int]*slot, i int) (note string) {
	k := &table[i]
	_, stored := r.layers[Database][i]
	switch {
	case k.Type == Secret && (stored || r.sealed[i]):
		return k.Name + " is a secret that the file does not name, and is kept; \"postrider " +
			"settings reset " + k.Name + "\" removes it"
	case stored:
		wanted[i] = nil
	}
	return ""
}

// changes lists what differs between the database and what is wanted. A key
// that the database does not name is not set to what it is by default.
func (r *Registry) changes(wanted map[int]*slot) []Change {
	var list []Change
	for i := range table {
		s, ok := wanted[i]
		if !ok {
			continue
		}
		k := &table[i]
		old, stored := r.layers[Database][i]
		if !stored {
			old.text = k.Default
		}
		to := k.Default
		if s != nil {
			to = s.text
		}
		if old.text == to && !r.sealed[i] && (s != nil || !stored) {
			continue
		}
		c := Change{Name: k.Name, Old: k.show(old.text), New: k.show(to), Reset: s == nil,
			Restart: k.Restart && (r.started == nil || r.started.slots[i].text != to)}
		if r.sealed[i] {
			c.Old = masked
		}
		list = append(list, c)
	}
	return list
}

// write makes changes durable and then current; mu is held.
func (r *Registry) write(ctx context.Context, wanted map[int]*slot) ([]Change, error) {
	list := r.changes(wanted)
	if len(list) == 0 {
		return nil, nil
	}
	rows := make(map[string]*string, len(list))
	for _, c := range list {
		i := r.names[c.Name]
		if wanted[i] == nil {
			rows[c.Name] = nil
			continue
		}
		text, err := r.toRow(&table[i], *wanted[i])
		if err != nil {
			return nil, err
		}
		rows[c.Name] = &text
	}
	layers := r.layersWith(wanted)
	if err := r.tryChange(valuesOf(layers)); err != nil {
		return nil, err
	}
	if err := r.store.WriteSettings(ctx, rows); err != nil {
		return nil, err
	}
	r.layers = layers
	for _, c := range list {
		delete(r.sealed, r.names[c.Name])
	}
	r.rebuild()
	return list, nil
}

// layersWith are the layers as they will be with what is wanted in the
// database; mu is held.
func (r *Registry) layersWith(wanted map[int]*slot) layers {
	next := r.layers
	database := make(map[int]setting, len(next[Database])+len(wanted))
	maps.Copy(database, next[Database])
	for i, s := range wanted {
		if s == nil {
			delete(database, i)
		} else {
			database[i] = setting{*s, "database"}
		}
	}
	next[Database] = database
	return next
}
