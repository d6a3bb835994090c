package vfs

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// sector is the smallest piece that a disk writes whole, in bytes.
const sector = 512

// Keep says what a power cut leaves of the changes that were not flushed.
type Keep func() float64

// KeepNone leaves nothing of what was not flushed.
func KeepNone() float64 { return 0 }

// KeepAll leaves everything.
func KeepAll() float64 { return 1 }

// KeepSome leaves a random part: of each change nothing, everything, or some
// of the sectors that it wrote.
func KeepSome(r *rand.Rand) Keep {
	return func() float64 {
		switch r.IntN(4) {
		case 0:
			return 0
		case 1:
			return 1
		}
		return r.Float64()
	}
}

// A disk is what a power cut leaves.
type disk struct {
	files   map[int]*content
	names   map[string]int // durable names; 0 is a directory
	pending []named        // changes of names that were not flushed
	since   []int          // for each of pending, its event
}

type named struct {
	event
	inode int
}

// A content is a file's bytes on the disk and the changes on the way there.
type content struct {
	data    []byte
	pending []change
}

type change struct {
	event
	index int
	lost  bool // a flush of it failed: later ones do not bring it to the disk
}

// PowerCut makes in the directory to, which must be there, what a power cut
// after the first at events leaves of the directory root. Directories that
// were there before the recording began are whole.
func (r *Recorder) PowerCut(at int, keep Keep, root, to string) error {
	files, dirs := r.Left(at, keep, root)
	for _, dir := range dirs {
		if err := os.MkdirAll(filepath.Join(to, dir), 0o700); err != nil {
			return err
		}
	}
	for path, data := range files {
		target := filepath.Join(to, path)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(target, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Left is what PowerCut makes: files and directories by their path below
// root.
func (r *Recorder) Left(at int, keep Keep, root string) (files map[string][]byte, dirs []string) {
	r.mu.Lock()
	events := r.events[:at]
	r.mu.Unlock()
	d := &disk{files: map[int]*content{}, names: map[string]int{}}
	made := map[string]bool{} // directories that a recorded MkdirAll made
	for i, e := range events {
		if e.op == OpMkdir {
			made[e.path] = true
		}
		d.play(i, e)
	}
	for _, p := range d.pending { // what the file system wrote by itself
		if keep() >= 0.5 {
			d.rename(p.event, p.inode)
		}
	}
	files = map[string][]byte{}
	for _, path := range slices.Sorted(maps.Keys(d.names)) {
		rel, ok := under(root, path)
		if !ok || !d.reachable(root, path, made) {
			continue
		}
		if inode := d.names[path]; inode != 0 {
			files[rel] = d.files[inode].left(keep)
		} else {
			dirs = append(dirs, rel)
		}
	}
	return files, dirs
}

// reachable says whether all directories that lead to path are durable.
func (d *disk) reachable(root, path string, made map[string]bool) bool {
	for dir := filepath.Dir(path); dir != root && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, durable := d.names[dir]; made[dir] && !durable {
			return false
		}
	}
	return true
}

// play applies one event.
func (d *disk) play(i int, e event) {
	switch e.op {
	case OpCreate:
		d.files[e.inode] = &content{}
		d.pending = append(d.pending, named{e, e.inode})
		d.since = append(d.since, i)
	case OpMkdir, OpRemove, OpRename:
		d.pending = append(d.pending, named{e, 0})
		d.since = append(d.since, i)
	case OpWrite, OpTruncate:
		if c := d.files[e.inode]; c != nil {
			c.pending = append(c.pending, change{event: e, index: i})
		}
	case OpSync:
		if c := d.files[e.inode]; c != nil {
			c.flush(e)
		}
	case OpSyncDir:
		if !e.bad {
			d.flushDir(e)
		}
	}
}

// flushDir makes the changes of names in a directory durable.
func (d *disk) flushDir(e event) {
	var rest []named
	var since []int
	for i, p := range d.pending {
		if d.since[i] < e.since && filepath.Dir(p.path) == e.path {
			d.rename(p.event, p.inode)
			continue
		}
		rest, since = append(rest, p), append(since, d.since[i])
	}
	d.pending, d.since = rest, since
}

// rename applies a change of names.
func (d *disk) rename(e event, inode int) {
	switch e.op {
	case OpCreate, OpMkdir:
		d.names[e.path] = inode
	case OpRemove:
		delete(d.names, e.path)
	case OpRename:
		if i, ok := d.names[e.path]; ok {
			d.names[e.to] = i
			delete(d.names, e.path)
		}
	}
}

// flush applies a flush of the file. A bad one leaves open what became of
// the changes, for ever: the system forgets that they were not written.
func (c *content) flush(e event) {
	var rest []change
	for _, p := range c.pending {
		switch {
		case p.index >= e.since:
			rest = append(rest, p)
		case e.bad:
			p.lost = p.lost || p.op == OpWrite
			rest = append(rest, p)
		case p.lost:
			rest = append(rest, p)
		default:
			c.apply(p.event, 1)
			if p.op == OpTruncate {
				rest = cutOff(rest, p.off)
			}
		}
	}
	c.pending = rest
}

// cutOff forgets what a truncation took away.
func cutOff(list []change, size int64) []change {
	var rest []change
	for _, p := range list {
		if p.op != OpWrite || p.off < size {
			rest = append(rest, p)
		}
	}
	return rest
}

// left is what the cut leaves of the file.
func (c *content) left(keep Keep) []byte {
	for _, p := range c.pending {
		c.apply(p.event, keep())
	}
	return c.data
}

// apply makes a change, or part of one: some of a write's sectors, the first
// ones or the last ones.
func (c *content) apply(e event, part float64) {
	if e.op == OpTruncate {
		if part >= 0.5 {
			c.data = resize(c.data, e.off)
		}
		return
	}
	from, to := e.off, e.off+int64(len(e.data))
	if part < 1 {
		sectors := int64(float64((to-from)/sector+1) * part)
		if int64(part*1000)%2 == 0 {
			to = min(to, (from/sector+sectors)*sector)
		} else {
			from = max(from, (to/sector-sectors+1)*sector)
		}
	}
	if from >= to {
		return
	}
	if int64(len(c.data)) < to {
		c.data = resize(c.data, to)
	}
	copy(c.data[from:to], e.data[from-e.off:])
}
