//go:build unix

package datadir

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"postrider/internal/mail"
)

// unixSockets says that the system certainly has Unix sockets.
const unixSockets = true

// Owner names the user to whom the directory belongs, for a process of root;
// it is empty for root itself, and for every other process.
func Owner(path string) string {
	uid, _, ok := owner(path)
	if !ok {
		return ""
	}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return ""
	}
	return u.Username
}

// owner gives the owner of a path if this is a process of root and the path
// belongs to another.
func owner(path string) (uid, gid int, ok bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}

// Give makes what root has in a directory the user's own: the directory and
// the files that lie directly in it. It is for one that was just made.
func Give(path, username string) error {
	u, err := user.Lookup(username)
	if err != nil {
		return &mail.Error{Kind: mail.NotFound, Text: "there is no user " + username, Err: err}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == 0 {
			if err := os.Lchown(filepath.Join(path, e.Name()), uid, gid); err != nil {
				return err
			}
		}
	}
	// Last, because until then nobody else can put anything in it.
	return os.Lchown(path, uid, gid)
}

// Become makes a process of root that of the directory's owner, for good,
// so that no file in it ever belongs to root. Any other process stays what
// it is. It must come before any file of the directory is opened.
func Become(path string) error {
	uid, gid, ok := owner(path)
	if !ok {
		return nil
	}
	return become(uid, gid)
}

// maxGroups is how many groups macOS lets a process have. An administrator
// there is often in more; the first ones are those that matter.
const maxGroups = 16

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
	groups = groups[:min(len(groups), maxGroups)]
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

// exposed says whether others than the owner have rights on a file.
func exposed(path string) (bool, error) {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&0o077 != 0, err
}
