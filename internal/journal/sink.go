package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"postrider/internal/mail"
)

// A stream writes records to standard error.
type stream struct{ w io.Writer }

func (s stream) write(b *batch) (int, error) {
	if len(b.buf) == 0 {
		return 0, nil
	}
	// A stream that takes no more is no reason to keep records for ever.
	_, _ = s.w.Write(b.buf)
	return len(b.marks), nil
}

func (s stream) close() error { return nil }

// dayForm is the name of a day's file without its ending.
const dayForm = "2006-01-02"

const (
	fileEnding = ".log"
	fileMode   = 0o640
	dirMode    = 0o750
)

// dayOf gives the local day of a time as yyyymmdd.
func dayOf(t time.Time) int {
	y, m, d := t.Date()
	return y*10_000 + int(m)*100 + d
}

func fileName(day int) string {
	return fmt.Sprintf("%04d-%02d-%02d%s", day/10_000, day/100%100, day%100, fileEnding)
}

// files writes a file for each day and removes old ones.
type files struct {
	dir     string
	keep    func() time.Duration
	now     func() time.Time
	day     int // of the open file
	file    *os.File
	cleaned int           // the day on which old files were last removed
	kept    time.Duration // and how long they were kept then
}

func openFiles(dir string, keep func() time.Duration, now func() time.Time) (*files, error) {
	if dir == "" {
		return nil, mail.Errorf(mail.Invalid, "log.directory: want a directory for the log files")
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	f := &files{dir: dir, keep: keep, now: now}
	if err := f.open(dayOf(now())); err != nil {
		return nil, fmt.Errorf("open log file: %w", err)
	}
	return f, nil
}

// open makes the file of a day the current one.
func (f *files) open(day int) error {
	if f.file != nil && f.day == day && f.inPlace() {
		return nil
	}
	if f.file != nil {
		_ = f.file.Close() // every write to it has been checked
		f.file = nil
	}
	file, err := os.OpenFile(filepath.Join(f.dir, fileName(day)),
		os.O_WRONLY|os.O_CREATE|os.O_APPEND, fileMode)
	if err != nil {
		return err
	}
	f.file, f.day = file, day
	return nil
}

// inPlace says whether the open file still has its name; somebody may have
// moved or removed it.
func (f *files) inPlace() bool {
	named, err := os.Stat(f.file.Name())
	if err != nil {
		return false
	}
	open, err := f.file.Stat()
	return err == nil && os.SameFile(named, open)
}

// write puts each record into the file of its day; records of a day come in
// one write. A record that was written half is written again whole.
func (f *files) write(b *batch) (int, error) {
	done, at := 0, 0
	for done < len(b.marks) {
		day, next := b.marks[done].day, done
		for next < len(b.marks) && b.marks[next].day == day {
			next++
		}
		if err := f.open(day); err != nil {
			return done, err
		}
		end := b.marks[next-1].end
		n, err := f.file.Write(b.buf[at:end])
		if err != nil {
			for done < next && b.marks[done].end <= at+n {
				done++
			}
			f.endHalf(n, done, at, b)
			return done, err
		}
		done, at = next, end
	}
	f.clean()
	return done, nil
}

// endHalf cuts off a record that was written in part only.
func (f *files) endHalf(n, done, at int, b *batch) {
	whole := 0
	if done > 0 {
		whole = max(0, b.marks[done-1].end-at)
	}
	if n == whole {
		return
	}
	if info, err := f.file.Stat(); err == nil {
		_ = f.file.Truncate(info.Size() - int64(n-whole))
	}
}

// clean removes the files that are older than keep, once a day or when that
// has changed.
func (f *files) clean() {
	today := dayOf(f.now())
	keep := f.keep()
	if keep <= 0 || f.cleaned == today && f.kept == keep {
		return
	}
	f.cleaned, f.kept = today, keep
	days, err := listDays(f.dir)
	if err != nil {
		return // the directory is there: a file was just opened in it
	}
	oldest := dayOf(f.now().Add(-keep))
	for _, day := range days {
		if day < oldest {
			_ = os.Remove(filepath.Join(f.dir, fileName(day))) // tried again tomorrow
		}
	}
}

// listDays gives the days that have a file, oldest first.
func listDays(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var days []int
	for _, e := range entries {
		t, err := time.Parse(dayForm+fileEnding, e.Name())
		if err == nil && e.Type().IsRegular() {
			days = append(days, dayOf(t))
		}
	}
	return days, nil
}

func (f *files) close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
