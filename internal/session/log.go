package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"postrider/internal/datadir"
	"postrider/internal/journal"
	"postrider/internal/settings"
)

// A directLog keeps the records of operations that run in this process, so
// that a change made without a server is in the log as well. The log is opened
// in the end only, and only if there is something to write.
type directLog struct {
	mu      sync.Mutex
	records []slog.Record
}

// Enabled keeps what the log of a server has at its usual level.
func (d *directLog) Enabled(_ context.Context, l slog.Level) bool { return l >= journal.Problem }

// Handle keeps a record.
func (d *directLog) Handle(_ context.Context, r slog.Record) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records = append(d.records, r.Clone())
	return nil
}

// WithAttrs and WithGroup complete slog.Handler; operations use neither.
func (d *directLog) WithAttrs([]slog.Attr) slog.Handler { return d }
func (d *directLog) WithGroup(string) slog.Handler      { return d }

// write appends the records to the log files, if the settings want files: the
// systemd journal is for the server, and standard error for the command.
func (d *directLog) write(ctx context.Context, dir *datadir.Dir, v *settings.Values) error {
	if len(d.records) == 0 || v.String(settings.LogTarget) != "files" {
		return nil
	}
	levels, err := journal.ParseLevels(v.List(settings.LogLevels))
	if err != nil {
		return err
	}
	j, err := journal.New(journal.Config{Target: "files", Format: v.String(settings.LogFormat),
		Directory: dir.Resolve(v.String(settings.LogDirectory)),
		Keep:      v.Duration(settings.LogKeep), Level: v.Int(settings.LogLevel), Levels: levels})
	if err != nil {
		return err
	}
	h := j.For("control").Handler()
	for _, r := range d.records {
		if h.Enabled(ctx, r.Level) {
			r.AddAttrs(slog.String("by", "command line"))
			err = errors.Join(err, h.Handle(ctx, r))
		}
	}
	return errors.Join(err, j.Close())
}
