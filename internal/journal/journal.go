// Package journal is the log of the server, and its metrics. Records are
// those of log/slog; each component has a Logger with a level of its own,
// from 1 (failures) to 5 (everything), that can be changed while the server
// runs, for a time if wanted.
//
// Records go to a file for each day, named YYYY-MM-DD.log in local time, to
// the systemd journal, or to standard error, as lines of text or JSON. A
// writer of its own takes them from a bounded queue, at once after a failure
// and within 250 ms otherwise, so that a slow disk does not slow down mail;
// nothing is flushed to the medium. Close writes what is still queued.
//
// Values of attributes whose names sound secret are masked at every level,
// and so is the type Secret.
package journal

import (
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postrider/internal/mail"
)

// Config says how a journal is kept. The zero value writes text to standard
// error at level 3.
type Config struct {
	Target    string         // "files", "journald" or "stderr" (also "")
	Format    string         // "text" (also "") or "json"
	Directory string         // of the files; made if missing
	Keep      time.Duration  // how long files are kept; 0 is for ever
	Level     int            // 1 to 5; 0 is 3
	Levels    map[string]int // of components that differ
	Stderr    io.Writer      // nil is os.Stderr
	Now       func() time.Time
	// JournalSocket is the path of journald's socket; "" is the usual one.
	JournalSocket string
}

// An override is a level set while running.
type override struct {
	level int
	until time.Time // zero: until the next start
}

// A Journal takes records. Its methods may be called concurrently.
type Journal struct {
	encoder encoder
	now     func() time.Time
	stderr  io.Writer
	queue   queue
	limiter limiter
	keep    atomic.Int64  // how long files are kept, a time.Duration
	done    chan struct{} // closed when the writer has ended
	stop    chan struct{}

	mu         sync.Mutex
	closed     bool
	base       int
	levels     map[string]int
	overrides  map[string]override // "" is all components
	components map[string]*component
}

// New opens a journal and starts its writer. An error says what cannot be
// written.
func New(c Config) (*Journal, error) {
	j := &Journal{
		encoder: textEncoder{}, now: c.Now, stderr: c.Stderr,
		done: make(chan struct{}), stop: make(chan struct{}),
		base: c.Level, levels: maps.Clone(c.Levels), overrides: make(map[string]override),
		components: make(map[string]*component),
	}
	if c.Format == "json" {
		j.encoder = jsonEncoder{}
	}
	if j.now == nil {
		j.now = time.Now
	}
	if j.stderr == nil {
		j.stderr = os.Stderr
	}
	if j.base == 0 {
		j.base = 3
	}
	j.keep.Store(int64(c.Keep))
	j.queue.init()
	j.limiter.init(j.now)
	out, err := j.open(c)
	if err != nil {
		return nil, err
	}
	go j.run(out)
	return j, nil
}

func (j *Journal) open(c Config) (sink, error) {
	switch c.Target {
	case "files":
		return openFiles(c.Directory, j.kept, j.now)
	case "journald":
		return openJournald(c.JournalSocket, j.stderr)
	case "stderr", "":
		return stream{j.stderr}, nil
	}
	return nil, mail.Errorf(mail.Invalid, "log.target: want files, journald or stderr")
}

// For gives the Logger of a component, such as "smtp". It is cheap to call
// and the same component always has the same level.
func (j *Journal) For(name string) *slog.Logger {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.components[name]
	if c == nil {
		c = &component{name: name}
		c.threshold.Store(int64(threshold(j.levelOf(name))))
		j.components[name] = c
	}
	return slog.New(&handler{journal: j, component: c})
}

// levelOf is the number that holds for a component; mu is held.
func (j *Journal) levelOf(name string) int {
	if o, ok := j.override(name); ok {
		return o.level
	}
	return j.configured(name)
}

// override is what Set has set for a component; mu is held.
func (j *Journal) override(name string) (override, bool) {
	if o, ok := j.overrides[name]; ok {
		return o, true
	}
	o, ok := j.overrides[""]
	return o, ok
}

// configured is what the settings say of a component; mu is held.
func (j *Journal) configured(name string) int {
	if n, ok := j.levels[name]; ok {
		return n
	}
	return j.base
}

// update gives every component its level; mu is held.
func (j *Journal) update() {
	for name, c := range j.components {
		c.threshold.Store(int64(threshold(j.levelOf(name))))
	}
}

// Configure changes the levels that the settings give: that of all
// components and those of single ones. What Set has set stays above.
func (j *Journal) Configure(base int, levels map[string]int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.base, j.levels = base, maps.Clone(levels)
	j.update()
}

// Keep changes how long files are kept; 0 is for ever. It holds from the next
// record on.
func (j *Journal) Keep(d time.Duration) { j.keep.Store(int64(d)) }

func (j *Journal) kept() time.Duration { return time.Duration(j.keep.Load()) }

// Set changes the level of a component until a time, or until the next start
// for the zero time. Level 0 takes an earlier Set back. The name "" is all
// components, also those that were set one by one. Invalid for a level outside
// 0 to 5.
func (j *Journal) Set(name string, level int, until time.Time) error {
	if level < 0 || level > 5 {
		return mail.Errorf(mail.Invalid, "want a log level from 1 to 5, or 0 for that of the settings")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.overrides, name)
	if name == "" {
		clear(j.overrides)
	}
	if level > 0 {
		j.overrides[name] = override{level, until}
	}
	j.update()
	j.queue.notify()
	return nil
}

// A ComponentLevel tells what is logged of a component.
type ComponentLevel struct {
	Component string    `json:"component"`
	Level     int       `json:"level"`
	Settings  int       `json:"settings_level"` // what the settings say
	Changed   bool      `json:"changed"`        // Set has set the level
	Until     time.Time `json:"until,omitzero"` // when that ends; zero: at the next start
}

// Levels lists all components that have logged or may log, by name.
func (j *Journal) Levels() []ComponentLevel {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []ComponentLevel
	for _, name := range slices.Sorted(maps.Keys(j.components)) {
		l := ComponentLevel{Component: name, Level: j.levelOf(name), Settings: j.configured(name)}
		if o, ok := j.override(name); ok {
			l.Changed, l.Until = true, o.until
		}
		list = append(list, l)
	}
	return list
}

// expire ends what Set has set for a time, and tells how long it is to the
// next such end, 0 if there is none.
func (j *Journal) expire(now time.Time) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	var next time.Duration
	ended := false
	for name, o := range j.overrides {
		if o.until.IsZero() {
			continue
		}
		left := o.until.Sub(now)
		if left <= 0 {
			delete(j.overrides, name)
			ended = true
			continue
		}
		if next == 0 || left < next {
			next = left
		}
	}
	if ended {
		j.update()
	}
	return next
}

// Flush waits until everything logged so far is written.
func (j *Journal) Flush() {
	wait := make(chan struct{})
	select {
	case j.queue.flush <- wait:
		<-wait
	case <-j.done:
	}
}

// Close writes what is queued, and the counts of suppressed records, and
// ends the writer. Records that come later go to standard error. The error
// tells how many records could not be written.
func (j *Journal) Close() error {
	j.mu.Lock()
	if !j.closed {
		j.closed = true
		close(j.stop)
	}
	j.mu.Unlock()
	<-j.done
	if n := j.queue.lostTotal.Load(); n > 0 {
		return mail.Errorf(mail.Internal, "log records lost: "+decimal(n))
	}
	return nil
}
