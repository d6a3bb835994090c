package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"sort"
	"sync"
)

// A Memory is a file system in memory, for tests. Flushes do nothing. All
// methods may be called concurrently.
type Memory struct {
	mu    sync.Mutex
	files map[string]*memoryData
	dirs  map[string]bool
}

type memoryData struct {
	mu   sync.RWMutex
	data []byte
}

// NewMemory returns a file system with these files, and the directories that
// they are in.
func NewMemory(files map[string][]byte) *Memory {
	m := &Memory{files: map[string]*memoryData{}, dirs: map[string]bool{}}
	for path, data := range files {
		_ = m.MkdirAll(filepath.Dir(path)) // never fails
		m.files[path] = &memoryData{data: data}
	}
	return m
}

// Data is a copy of a file's bytes, nil if there is no such file.
func (m *Memory) Data(path string) []byte {
	m.mu.Lock()
	f := m.files[path]
	m.mu.Unlock()
	if f == nil {
		return nil
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return append([]byte{}, f.data...)
}

func pathError(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// Create implements FS.
func (m *Memory) Create(path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[filepath.Dir(path)] {
		return nil, pathError("create", path, fs.ErrNotExist)
	}
	if m.files[path] != nil {
		return nil, pathError("create", path, fs.ErrExist)
	}
	f := &memoryData{}
	m.files[path] = f
	return &memoryFile{f: f, path: path, writable: true}, nil
}

// Open implements FS.
func (m *Memory) Open(path string) (File, error) { return m.open(path, false) }

// OpenWrite implements FS.
func (m *Memory) OpenWrite(path string) (File, error) { return m.open(path, true) }

func (m *Memory) open(path string, writable bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[path]
	if f == nil {
		return nil, pathError("open", path, fs.ErrNotExist)
	}
	return &memoryFile{f: f, path: path, writable: writable}, nil
}

// Remove implements FS.
func (m *Memory) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[path] == nil {
		return pathError("remove", path, fs.ErrNotExist)
	}
	delete(m.files, path)
	return nil
}

// Rename implements FS.
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[from]
	if f == nil {
		return pathError("rename", from, fs.ErrNotExist)
	}
	delete(m.files, from)
	m.files[to] = f
	return nil
}

// ReadDir implements FS.
func (m *Memory) ReadDir(path string) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[path] {
		return nil, pathError("read", path, fs.ErrNotExist)
	}
	var list []Entry
	for name, f := range m.files {
		if filepath.Dir(name) == path {
			f.mu.RLock()
			list = append(list, Entry{Name: filepath.Base(name), Size: int64(len(f.data))})
			f.mu.RUnlock()
		}
	}
	for name := range m.dirs {
		if filepath.Dir(name) == path && name != path {
			list = append(list, Entry{Name: filepath.Base(name), Dir: true})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// MkdirAll implements FS.
func (m *Memory) MkdirAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.dirs[path] {
		m.dirs[path] = true
		path = filepath.Dir(path)
	}
	return nil
}

// SyncDir implements FS.
func (m *Memory) SyncDir(string) error { return nil }

// A memoryFile is an open file.
type memoryFile struct {
	f        *memoryData
	path     string
	writable bool

	mu     sync.Mutex
	closed bool
}

// use refuses a closed file, and writes to one that is open for reading.
func (f *memoryFile) use(op string, write bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return pathError(op, f.path, fs.ErrClosed)
	case write && !f.writable:
		return pathError(op, f.path, fs.ErrPermission)
	}
	return nil
}

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.use("read", false); err != nil {
		return 0, err
	}
	f.f.mu.RLock()
	defer f.f.mu.RUnlock()
	if off < 0 {
		return 0, pathError("read", f.path, errors.New("negative offset"))
	}
	if off >= int64(len(f.f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.use("write", true); err != nil {
		return 0, err
	}
	f.f.mu.Lock()
	defer f.f.mu.Unlock()
	if end := off + int64(len(p)); end > int64(len(f.f.data)) {
		f.f.data = resize(f.f.data, end)
	}
	return copy(f.f.data[off:], p), nil
}

func (f *memoryFile) Sync() error { return f.use("sync", false) }

func (f *memoryFile) WriteOut(_, _ int64, _ bool) error { return f.use("write out", false) }

func (f *memoryFile) Truncate(size int64) error {
	if err := f.use("truncate", true); err != nil {
		return err
	}
	f.f.mu.Lock()
	defer f.f.mu.Unlock()
	f.f.data = resize(f.f.data, size)
	return nil
}

func (f *memoryFile) Size() (int64, error) {
	f.f.mu.RLock()
	defer f.f.mu.RUnlock()
	return int64(len(f.f.data)), f.use("size", false)
}

func (f *memoryFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return pathError("close", f.path, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

// resize sets the length of b; what is new is zero.
func resize(b []byte, size int64) []byte {
	old := int64(len(b))
	if size <= old {
		return b[:size:size] // so that growing again finds no old bytes
	}
	return append(b, make([]byte, size-old)...)
}
