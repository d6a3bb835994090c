//go:build unix

package datadir

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"postrider/internal/mail"
)

// unixSockets says that the system certainly has Unix sockets.
const unixSockets = true

// Become makes a process of root that of the directory's owner, for good,
// so that no file in it ever belongs to root. Any other process stays what
// it is. It must come before any file of the directory is opened.
func Become(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return &mail.Error{Kind: mail.Unreachable, Err: err,
			Text: "the data directory cannot be read"}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	return become(int(st.Uid), int(st.Gid))
}

func become(uid, gid int) error {
	groups := []int{gid}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		if own, err := strconv.Atoi(u.Gid); err == nil {
			gid, groups = own, []int{own}
		}
		if ids, err := u.GroupIds(); err == nil {
			groups = numbers(ids, gid)
		}
	}
	// The order matters: without root the groups cannot be changed.
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	if err := syscall.Setgid(gid); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	if err := syscall.Setuid(uid); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	return nil
}

// numbers turns group ids into numbers, the first one in front.
func numbers(ids []string, first int) []int {
	out := []int{first}
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil && n != first {
			out = append(out, n)
		}
	}
	return out
}
