//go:build !windows

package server

import (
	"context"
	"fmt"
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
	u, err := user.Lookup(name)
	if err != nil {
		return &mail.Error{Kind: mail.Invalid, Err: err,
			Text: "server.user: there is no user " + name}
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

// giveAway makes a data directory that root has just made the user's own.
// A directory of another user is left alone.
func giveAway(dir string, uid, gid int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, path := range append([]string{""}, namesOf(entries)...) {
		full := dir + "/" + path
		var st unix.Stat_t
		if err := unix.Lstat(full, &st); err != nil {
			return err
		}
		if st.Uid == 0 && st.Mode&unix.S_IFMT != unix.S_IFLNK {
			if err := os.Lchown(full, uid, gid); err != nil {
				return err
			}
		}
	}
	return nil
}

func namesOf(entries []os.DirEntry) []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// become gives up root and starts the program again. From the first dup on
// there is no way back, because the runtime's own descriptors may have been
// overwritten: a failure ends the process.
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
	env := []string{"LISTEN_PID=" + strconv.Itoa(os.Getpid()),
		"LISTEN_FDS=" + strconv.Itoa(len(files)), "LISTEN_FDNAMES=" + strings.Join(names, ":")}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "LISTEN_") {
			env = append(env, e)
		}
	}
	// First above every target, then down to the places of the protocol.
	high := make([]int, len(files))
	for i, f := range files {
		if high[i], err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 1000); err != nil {
			return err
		}
	}
	for i, fd := range high {
		if err := dup2(fd, firstInherited+i); err != nil {
			os.Exit(1)
		}
	}
	syscall.Exec(self, os.Args, env)
	os.Exit(1)
	return nil
}
