//go:build !windows

package room

import "golang.org/x/sys/unix"

// Free tells how many bytes an ordinary user may still write to the
// file system of dir, and how large it is.
func Free(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	size := int64(st.Bsize)
	return int64(st.Bavail) * size, int64(st.Blocks) * size, nil
}
