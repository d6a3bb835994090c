// Package vfs is the thin layer between the volumes and the file system. It
// has the calls that decide what survives a power cut, and no others, so that
// a Recorder can stand in for the disk in tests.
package vfs

import (
	"io"
	"os"
)

// A File is an open file. ReadAt and WriteAt may be called concurrently.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Sync returns when all that was written, and what is needed to read it
	// again, is on the disk. After an error nothing is known about what was
	// written since the last Sync that succeeded.
	Sync() error
	// WriteOut asks for n bytes at off to be written to the disk soon; with
	// wait it returns when they are. It bounds how much a later Sync has to
	// do and promises nothing.
	WriteOut(off, n int64, wait bool) error
	// Truncate sets the size in bytes.
	Truncate(size int64) error
	// Size is the size in bytes.
	Size() (int64, error)
}

// An Entry is one name in a directory.
type Entry struct {
	Name string
	Size int64 // bytes, of a file
	Dir  bool
}

// An FS is a file system. All methods may be called concurrently. Errors
// wrap those of package io/fs.
type FS interface {
	// Create makes a file that must not be there yet, for reading and
	// writing by the owner only. Its name is durable after SyncDir.
	Create(path string) (File, error)
	// Open opens a file for reading.
	Open(path string) (File, error)
	// OpenWrite opens a file that is there for reading and writing.
	OpenWrite(path string) (File, error)
	Remove(path string) error
	Rename(from, to string) error
	// ReadDir lists a directory by name.
	ReadDir(path string) ([]Entry, error)
	// MkdirAll makes a directory, for the owner only, and its parents.
	MkdirAll(path string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
}

// OS is the file system of the operating system.
type OS struct{}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncData(f.File) }

func (f osFile) WriteOut(off, n int64, wait bool) error {
	return writeOut(f.File, off, n, wait)
}

func (f osFile) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

func open(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Create implements FS.
func (OS) Create(path string) (File, error) {
	return open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open implements FS.
func (OS) Open(path string) (File, error) { return open(path, os.O_RDONLY) }

// OpenWrite implements FS.
func (OS) OpenWrite(path string) (File, error) { return open(path, os.O_RDWR) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// ReadDir implements FS. A file that vanishes meanwhile is left out.
func (OS) ReadDir(path string) ([]Entry, error) {
	names, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	list := make([]Entry, 0, len(names))
	for _, n := range names {
		i, err := n.Info()
		if err != nil {
			continue
		}
		list = append(list, Entry{Name: n.Name(), Size: i.Size(), Dir: n.IsDir()})
	}
	return list, nil
}

// MkdirAll implements FS.
func (OS) MkdirAll(path string) error { return os.MkdirAll(path, 0o700) }

// SyncDir implements FS.
func (OS) SyncDir(path string) error { return syncDir(path) }
