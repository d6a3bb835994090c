package room

import "golang.org/x/sys/windows"

// Free tells how many bytes the user may still write to the volume of dir, and
// how large it is.
func Free(dir string) (free, total int64, err error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var f, t, all uint64
	err = windows.GetDiskFreeSpaceEx(p, &f, &t, &all)
	return int64(f), int64(t), err
}
