//go:build !windows

package server

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"postrider/internal/datadir"
	"postrider/internal/mail"
	"postrider/internal/settings"
)

// Descend is called by a process that was started as root and shall not stay
// so: it opens the listeners, becomes server.user, and starts this program
// again in its place with the sockets passed as in socket activation, so
// that nothing that root opened lives on and there is one way to start. It
// returns nil when there is nothing to do; it does not return on success.
func Descend(ctx context.Context, reg *settings.Registry, dir *datadir.Dir) error {
	name := reg.Current().String(settings.ServerUser)
	if os.Geteuid() != 0 || name == "" {
		return nil
	}
	if err := KnowsUser(name); err != nil {
		return err
	}
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if uid == 0 {
		return nil
	}
	names, listeners, err := openAll(ctx, reg)
	if err != nil {
		return err
	}
	if err := giveAway(dir.Path(), uid, gid); err != nil {
		return err
	}
	files := make([]*os.File, len(listeners))
	for i, ln := range listeners {
		f, ok := ln.(interface{ File() (*os.File, error) })
		if !ok {
			return fmt.Errorf("%s: this socket cannot be passed on", ln.Addr())
		}
		if files[i], err = f.File(); err != nil {
			return err
		}
	}
	return become(uid, gid, names, files)
}

// KnowsUser says whether the system has a user of that name; kind Invalid if
// not.
func KnowsUser(name string) error {
	if _, err := user.Lookup(name); err != nil {
		return &mail.Error{Kind: mail.Invalid, Err: err,
			Text: "server.user: there is no user " + name}
	}
	return nil
}

// openAll opens the listeners of all services.
func openAll(ctx context.Context, reg *settings.Registry) (
	names []string, all []net.Listener, err error) {
	in, err := inherit(os.Getenv)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range serviceKeys {
		list, err := in.listen(ctx, d.name, reg.Current().List(d.key))
		if err != nil {
			return nil, nil, err
		}
		for _, ln := range list {
			if u, ok := ln.(*net.UnixListener); ok {
				u.SetUnlinkOnClose(false)
			}
			names, all = append(names, d.name), append(all, ln)
		}
	}
	return names, all, nil
}

// giveAway makes the user's own what root has in a data directory, as it has
// when it made the directory or served from it before. What belongs to
// somebody else is left alone, and so is a file with other names: the user
// could have given it one here. The path is walked below one open directory,
// so that no link leads out of it.
func giveAway(dir string, uid, gid int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Uid != 0 || info.Mode()&fs.ModeSymlink != 0 || !e.IsDir() && st.Nlink > 1 {
			return nil
		}
		return root.Lchown(path, uid, gid)
	})
}

// passFrom is the first descriptor of those that are passed on.
const passFrom = 64

// become gives up root and starts the program again.
func become(uid, gid int, names []string, files []*os.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := syscall.Setgroups([]int{gid}); err != nil {
		return err
	}
	if err := syscall.Setgid(gid); err != nil {
		return err
	}
	if err := syscall.Setuid(uid); err != nil {
		return err
	}
	first, err := pass(files)
	if err != nil {
		return err
	}
	env := []string{"LISTEN_PID=" + strconv.Itoa(os.Getpid()),
		"LISTEN_FDS=" + strconv.Itoa(len(files)), "LISTEN_FDNAMES=" + strings.Join(names, ":"),
		firstVariable + "=" + strconv.Itoa(first)}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "LISTEN_") {
			env = append(env, e)
		}
	}
	return fmt.Errorf("start %s again: %w", self, syscall.Exec(self, os.Args, env))
}

// pass makes copies of the files that survive exec, in a row, and tells the
// number of the first.
func pass(files []*os.File) (first int, err error) {
	first = passFrom
	for i := 0; i < len(files); i++ {
		fd, err := unix.FcntlInt(files[i].Fd(), unix.F_DUPFD, first+i)
		if err != nil {
			return 0, err
		}
		if fd != first+i { // that place is taken: begin again behind it
			for j := first; j < first+i; j++ {
				unix.Close(j)
			}
			unix.Close(fd)
			first, i = fd+1, -1
		}
	}
	return first, nil
}
