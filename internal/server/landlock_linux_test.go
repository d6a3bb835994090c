package server

import llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"

// hasLandlock says whether the kernel has what confine wants.
func hasLandlock() bool {
	version, err := llsys.LandlockGetABIVersion()
	return err == nil && version >= 1
}
