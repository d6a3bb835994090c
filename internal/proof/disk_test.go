package proof

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sector is what a disk writes whole, in bytes.
const sector = 512

// A disk follows a trace and knows what of it a power cut would leave: what
// was there before, and every change that a flush which began after it has
// confirmed. A new or changed name needs the flush of its directory.
type disk struct {
	root  string
	now   int // steps that were played
	live  map[string]*inode
	names map[string]*inode // durable; nil for a directory
	moves []*naming         // of names, not flushed
	files map[*opened]*inode
	calls map[*call]*change
	begun map[*call]int // flushes under way

	// blind, if not nil, names paths whose flushes do nothing: a
	// directory's path ends with a slash.
	blind func(path string) bool
	// flushed counts flushes that brought something to the disk.
	flushed int
}

// An inode is a file without its name.
type inode struct {
	content []byte // durable
	size    int64  // as the server sees it
	open    []*change
}

// A change is a write or, with no data, a truncation to a size.
type change struct {
	at    int64
	data  []byte
	cut   bool
	ended int // the step after it, 0 while under way
	// lost says that a flush of it has failed: later ones do not bring it to
	// the disk, for the system takes it as written.
	lost bool
}

// A naming is a change of names.
type naming struct {
	path  string // that gets the inode; empty if none does
	gone  string // that has none any more; empty if none
	inode *inode
	ended int
}

// newDisk begins with what is in the directory before the server starts; it
// is known as root in the trace.
func newDisk(t *testing.T, before, root string) *disk {
	t.Helper()
	d := &disk{root: root, live: map[string]*inode{}, names: map[string]*inode{},
		files: map[*opened]*inode{}, calls: map[*call]*change{}, begun: map[*call]int{}}
	err := filepath.Walk(before, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(before, path)
		if err != nil {
			return err
		}
		name := filepath.Join(root, rel)
		switch {
		case info.IsDir():
			d.live[name], d.names[name] = nil, nil
		case info.Mode().IsRegular() && lasting(name):
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			f := &inode{content: b, size: int64(len(b))}
			d.live[name], d.names[name] = f, f
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// lasting says whether a file means anything after the machine has stopped.
func lasting(path string) bool {
	return !strings.HasSuffix(path, "-shm") && !strings.Contains(path, "/log/") &&
		!strings.HasSuffix(path, "/control.sock")
}

// mine says whether a path belongs to the disk.
func (d *disk) mine(path string) bool {
	return (path == d.root || strings.HasPrefix(path, d.root+"/")) && lasting(path)
}

// play applies the next step.
func (d *disk) play(s step) {
	d.now++
	c := s.call
	switch {
	case !s.done && c.writes() || !s.done && c.name == "ftruncate":
		if f := d.files[c.file]; f != nil {
			d.write(f, c)
		}
	case !s.done && (c.name == "fsync" || c.name == "fdatasync"):
		d.begun[c] = d.now
	case !s.done:
	case d.calls[c] != nil:
		d.wrote(c)
	case c.result < 0:
		d.flushFailed(c)
	case c.name == "fsync" || c.name == "fdatasync":
		if !c.injected && c.file != nil {
			d.flush(c)
		}
	default:
		d.name(c)
	}
}

// write adds a change that may or may not be on the disk from now on.
func (d *disk) write(f *inode, c *call) {
	ch := &change{data: c.data()}
	switch c.name {
	case "ftruncate":
		ch.cut, ch.at = true, c.numbers[1]
		f.size = ch.at
	case "pwrite64", "pwritev", "pwritev2":
		ch.at = c.numbers[2]
	default:
		ch.at = c.file.at
		if c.file.add {
			ch.at = f.size
		}
		c.file.at = ch.at + int64(len(ch.data))
	}
	if !ch.cut {
		f.size = max(f.size, ch.at+int64(len(ch.data)))
	}
	f.open = append(f.open, ch)
	d.calls[c] = ch
}

func (d *disk) wrote(c *call) {
	ch := d.calls[c]
	delete(d.calls, c)
	ch.ended = d.now
	if !ch.cut {
		ch.data = ch.data[:min(max(c.result, 0), int64(len(ch.data)))]
	}
}

// flush makes durable what had ended before the flush began.
func (d *disk) flush(c *call) {
	since := d.begun[c]
	f := d.files[c.file]
	if f == nil {
		if d.mine(c.file.path) && (d.blind == nil || !d.blind(c.file.path+"/")) {
			d.flushNames(c.file.path, since)
		}
		return
	}
	if d.blind != nil && d.blind(c.file.path) {
		return
	}
	if len(f.open) > 0 {
		d.flushed++
	}
	var rest []*change
	for _, ch := range f.open {
		if ch.lost || ch.ended == 0 || ch.ended >= since {
			rest = append(rest, ch)
			continue
		}
		f.content = ch.apply(f.content, 0, int64(len(ch.data)))
		if ch.cut { // it takes with it what was written there before
			rest = slices.DeleteFunc(rest, func(old *change) bool { return old.at >= ch.at })
		}
	}
	f.open = rest
}

// flushFailed leaves open, for ever, what became of the changes.
func (d *disk) flushFailed(c *call) {
	f, since := d.files[c.file], d.begun[c]
	if f == nil || since == 0 {
		return
	}
	for _, ch := range f.open {
		if !ch.cut && ch.ended > 0 && ch.ended < since {
			ch.lost = true
		}
	}
}

func (d *disk) flushNames(dir string, since int) {
	d.moves = slices.DeleteFunc(d.moves, func(n *naming) bool {
		if n.ended >= since || filepath.Dir(n.path) != dir && filepath.Dir(n.gone) != dir {
			return false
		}
		n.apply(d.names)
		return true
	})
}

func (n *naming) apply(names map[string]*inode) {
	if n.gone != "" {
		delete(names, n.gone)
	}
	if n.path != "" {
		names[n.path] = n.inode
	}
}

// name applies a call that opens a file or changes names.
func (d *disk) name(c *call) {
	var paths []string
	for _, text := range c.texts {
		paths = append(paths, filepath.Clean(string(text)))
	}
	if len(paths) == 0 || !d.mine(paths[0]) {
		return
	}
	n := &naming{ended: d.now}
	switch c.name {
	case "open", "openat", "openat2", "creat":
		d.open(c, paths[0])
		return
	case "rename", "renameat", "renameat2":
		n.gone, n.path, n.inode = paths[0], paths[1], d.live[paths[0]]
	case "link", "linkat":
		n.path, n.inode = paths[1], d.live[paths[0]]
	case "unlink", "unlinkat":
		n.gone = paths[0]
	case "mkdir", "mkdirat":
		n.path = paths[0]
	default:
		return
	}
	n.apply(d.live)
	d.moves = append(d.moves, n)
}

func (d *disk) open(c *call, path string) {
	f, known := d.live[path]
	if !known {
		f = &inode{}
		d.live[path] = f
		d.moves = append(d.moves, &naming{path: path, inode: f, ended: d.now})
	}
	if f == nil {
		return // a directory
	}
	if strings.Contains(c.raw, "O_TRUNC") && f.size > 0 {
		f.size = 0
		f.open = append(f.open, &change{cut: true, ended: d.now})
	}
	d.files[c.file] = f
}

// apply makes a change, or of a write the bytes between from and to.
func (ch *change) apply(content []byte, from, to int64) []byte {
	end := ch.at + to
	if ch.cut {
		end = ch.at
		content = content[:min(int64(len(content)), end)]
	}
	if grow := end - int64(len(content)); grow > 0 {
		content = append(content, make([]byte, grow)...)
	}
	copy(content[min(ch.at+from, end):end], ch.data[from:to])
	return content
}

// durable says whether a range of a file would be there after a power cut,
// and its name too.
func (d *disk) durable(f *inode, at, size int64) (bytes, name bool) {
	for _, ch := range f.open {
		if !ch.cut && ch.at < at+size && at < ch.at+int64(len(ch.data)) {
			return false, true
		}
	}
	for _, g := range d.names {
		if g == f {
			return true, true
		}
	}
	return true, false
}

// cut writes into the directory to what a power cut would leave now. Of what
// was not flushed nothing is left if r is nil; else r decides of each change
// whether it is lost, there, or torn between sectors.
func (d *disk) cut(t *testing.T, to string, r *rand.Rand) {
	t.Helper()
	names := d.names
	if r != nil {
		names = map[string]*inode{}
		for path, f := range d.names {
			names[path] = f
		}
		for _, n := range d.moves {
			if r.IntN(2) == 0 {
				n.apply(names)
			}
		}
	}
	for path, f := range names {
		if dir, there := names[filepath.Dir(path)]; path != d.root && (dir != nil || !there) {
			continue // its directory is not there
		}
		rel, err := filepath.Rel(d.root, path)
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(to, rel)
		if f == nil {
			err = os.MkdirAll(target, 0o700)
		} else if err = os.MkdirAll(filepath.Dir(target), 0o700); err == nil {
			err = os.WriteFile(target, f.left(r), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// left is what a power cut leaves of a file.
func (f *inode) left(r *rand.Rand) []byte {
	if r == nil || len(f.open) == 0 {
		return f.content
	}
	content := slices.Clone(f.content)
	for _, ch := range f.open {
		end := int64(len(ch.data))
		switch r.IntN(4) {
		case 0:
		case 1:
			content = ch.apply(content, 0, end)
		case 2: // the beginning, up to a sector's end
			if !ch.cut {
				stop := (ch.at+r.Int64N(end+1))/sector*sector - ch.at
				content = ch.apply(content, 0, max(stop, 0))
			}
		case 3: // single sectors
			for from := int64(0); from < end && !ch.cut; {
				stop := min((ch.at+from)/sector*sector+sector-ch.at, end)
				if r.IntN(2) == 0 {
					content = ch.apply(content, from, stop)
				}
				from = stop
			}
		}
	}
	return content
}
