package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"postrider/internal/mail"
)

// orderFile lies in each directory and tells its place in the list. Accounts
// are bound to directories by that number, so it must not change.
const orderFile = "postrider.volumes"

// maxOrderBytes bounds what is read of a orderFile.
const maxOrderBytes = 1 << 20

// An order is the content of a orderFile.
type order struct {
	Number int `json:"number"`
	// Directories is the list as it was, at its longest.
	Directories []string `json:"directories"`
}

// keepOrder refuses directories in another order (Conflict), and writes down
// the order of those that have none yet.
func (s *Store) keepOrder() error {
	list := make([]string, len(s.groups))
	for i, g := range s.groups {
		list[i] = g.dir
	}
	found := make([]order, len(s.groups))
	for i, g := range s.groups {
		p, err := s.readOrder(g.dir)
		if err != nil {
			return err
		}
		if found[i] = p; p.Directories == nil {
			continue
		}
		if p.Number != i {
			return mail.Errorf(mail.Conflict, fmt.Sprintf("the volume directory %s is number %d and stands"+
				" in the list (store.volumes) as number %d, counted from 0: only append to the list, never"+
				" remove or reorder, because accounts are bound to these numbers", g.dir, p.Number, i))
		}
		if len(p.Directories) > len(list) {
			list = append(list, p.Directories[len(list):]...)
		}
	}
	s.former = list[len(s.groups):]
	for i, g := range s.groups {
		want := order{i, list}
		if slices.Equal(found[i].Directories, want.Directories) {
			continue
		}
		if err := s.writeOrder(g.dir, want); err != nil {
			s.log.Warn("the place of a volume directory could not be written down", "directory", g.dir,
				"error", err)
		}
	}
	return nil
}

// readOrder gives what a directory says; a file that cannot be understood
// says nothing.
func (s *Store) readOrder(dir string) (p order, err error) {
	path := filepath.Join(dir, orderFile)
	f, err := s.fs.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, ioError("open", path, err)
	}
	defer f.Close() // read only
	size, err := f.Size()
	if err != nil {
		return p, ioError("read", path, err)
	}
	content := make([]byte, min(size, maxOrderBytes))
	if _, err := f.ReadAt(content, 0); err != nil {
		return p, ioError("read", path, err)
	}
	if err := json.Unmarshal(content, &p); err != nil {
		s.log.Warn("a file cannot be understood and is written anew", "file", path, "error", err)
		return order{}, nil
	}
	return p, nil
}

func (s *Store) writeOrder(dir string, p order) error {
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, orderFile)
	fresh := path + ".new"
	if err := s.fs.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := s.fs.Create(fresh)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(append(content, '\n'), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, s.fs.Remove(fresh))
	}
	if err := s.fs.Rename(fresh, path); err != nil {
		return err
	}
	return s.fs.SyncDir(dir)
}

// Former are directories that stood behind those of the configuration once;
// the first of them was number len(Config.Dirs).
func (s *Store) Former() []string { return s.former }
