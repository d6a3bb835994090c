package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"postrider/internal/mail"
)

// pollDelay is how often a follower looks for new records.
const pollDelay = 250 * time.Millisecond

// ReadOptions say what Follow shows.
type ReadOptions struct {
	Last      int    // how many of the records there are already; 0 is none, below 0 all
	Follow    bool   // go on with what comes, until the context ends
	Level     int    // only records of this level and those before it; 0 is all
	Component string // only records of this component; "" is all
}

// Follow reads the log files of a directory, oldest record first, and calls
// fn for each record with its line, which is valid during the call. It goes
// on over midnight to the next day's file. It returns fn's error, or that
// of the context when following. NotFound if the directory has no log files.
func Follow(ctx context.Context, dir string, o ReadOptions, fn func(line []byte) error) error {
	days, err := listDays(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read log directory: %w", err)
	}
	if len(days) == 0 && !o.Follow {
		return mail.Errorf(mail.NotFound, "no log files in "+dir)
	}
	r := &reader{dir: dir, options: o}
	defer r.close()
	if err := r.old(ctx, days, fn); err != nil || !o.Follow {
		return err
	}
	ticker := time.NewTicker(pollDelay)
	defer ticker.Stop()
	for {
		if err := r.new(ctx, fn); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// A reader reads one day's file after the other.
type reader struct {
	dir     string
	options ReadOptions
	day     int // of the open file
	file    *os.File
	lines   *bufio.Reader
	half    []byte // a line whose end has not been written yet
}

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
		r.file = nil
	}
}

func (r *reader) open(day int) error {
	r.close()
	f, err := os.Open(filepath.Join(r.dir, fileName(day)))
	if err != nil {
		return err
	}
	r.file, r.day, r.half = f, day, r.half[:0]
	r.lines = bufio.NewReaderSize(f, 64<<10)
	return nil
}

// old shows the last records that are there. It looks at the newest files
// first and at no more of them than it needs.
func (r *reader) old(ctx context.Context, days []int, fn func([]byte) error) error {
	if r.options.Last < 0 {
		for _, day := range days {
			if err := r.open(day); err != nil {
				return err
			}
			if err := r.rest(ctx, fn); err != nil {
				return err
			}
		}
		return nil
	}
	var found [][]byte
	from := r // stays open with the newest file, to go on from there
	for _, day := range slices.Backward(days) {
		if len(found) >= r.options.Last {
			break
		}
		more, err := from.lastOf(ctx, day, r.options.Last-len(found))
		if err != nil {
			return err
		}
		found = append(more, found...)
		if from == r {
			from = &reader{dir: r.dir, options: r.options}
			defer from.close()
		}
	}
	for _, line := range found {
		if err := fn(line); err != nil {
			return err
		}
	}
	if r.file != nil || len(days) == 0 || !r.options.Follow {
		return nil
	}
	return r.toEnd(days[len(days)-1])
}

// lastOf gives the last n records of a day.
func (r *reader) lastOf(ctx context.Context, day, n int) ([][]byte, error) {
	if err := r.open(day); err != nil {
		return nil, err
	}
	var ring [][]byte
	at := 0
	err := r.rest(ctx, func(line []byte) error {
		if len(ring) < n {
			ring = append(ring, bytes.Clone(line))
			return nil
		}
		ring[at] = append(ring[at][:0], line...)
		at = (at + 1) % n
		return nil
	})
	return append(ring[at:len(ring):len(ring)], ring[:at]...), err
}

// toEnd gets ready for what will come to a day's file.
func (r *reader) toEnd(day int) error {
	if err := r.open(day); err != nil {
		return err
	}
	_, err := r.file.Seek(0, io.SeekEnd)
	return err
}

// new shows what has come since the last call, also in a later day's file.
func (r *reader) new(ctx context.Context, fn func([]byte) error) error {
	if err := r.rest(ctx, fn); err != nil {
		return err
	}
	days, err := listDays(r.dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server has not made it yet
		}
		return err
	}
	for _, day := range days {
		if day <= r.day {
			continue
		}
		// Once the next file is there, no more comes to this one.
		if err := r.rest(ctx, fn); err != nil {
			return err
		}
		if err := r.open(day); err != nil {
			return err
		}
		if err := r.rest(ctx, fn); err != nil {
			return err
		}
	}
	return nil
}

// rest shows the whole lines up to the end of the file.
func (r *reader) rest(ctx context.Context, fn func([]byte) error) error {
	if r.file == nil {
		return nil
	}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		part, err := r.lines.ReadSlice('\n')
		if len(r.half)+len(part) <= 4*maxRecord {
			r.half = append(r.half, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read log: %w", err)
		}
		line := bytes.TrimSuffix(r.half, []byte("\n"))
		r.half = r.half[:0]
		if !r.wanted(line) {
			continue
		}
		if err := fn(line); err != nil {
			return err
		}
	}
}

// wanted says whether a line is of a level and component that are shown.
// Lines that are no record are shown.
func (r *reader) wanted(line []byte) bool {
	if r.options.Level == 0 && r.options.Component == "" {
		return true
	}
	level, component, ok := parseLine(line)
	if !ok {
		return true
	}
	return (r.options.Level == 0 || level <= r.options.Level) &&
		(r.options.Component == "" || component == r.options.Component)
}

// parseLine reads level and component of a record in either form.
func parseLine(line []byte) (level int, component string, ok bool) {
	if len(line) > 0 && line[0] == '{' {
		var record struct {
			Level     int    `json:"level"`
			Component string `json:"component"`
		}
		if json.Unmarshal(line, &record) != nil {
			return 0, "", false
		}
		return record.Level, record.Component, record.Level > 0
	}
	_, rest, _ := bytes.Cut(line, []byte(" "))
	number, rest, _ := bytes.Cut(rest, []byte(" "))
	name, _, ok := bytes.Cut(rest, []byte(" "))
	if !ok || len(number) != 1 || number[0] < '1' || number[0] > '5' {
		return 0, "", false
	}
	return int(number[0] - '0'), string(name), true
}
