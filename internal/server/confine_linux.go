package server

import (
	"net"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	"github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"postrider/internal/settings"
)

// confine lets this process read and write its own directories, read what
// TLS and name look-ups need, and nothing else, where the kernel has
// Landlock. What is set later and lies elsewhere needs a restart. Control is
// the address of the control socket, which is removed in the end. It says
// whether the process is confined.
func (s *Server) confine(control net.Addr) (bool, error) {
	version, err := syscall.LandlockGetABIVersion()
	if err != nil || version < 1 {
		s.logger("server").Warn("not confined: this kernel has no Landlock, or it is switched off")
		return false, nil
	}
	v := s.Settings.Current()
	write := []string{s.Dir.Path(), s.Dir.Resolve(v.String(settings.LogDirectory))}
	for _, d := range v.List(settings.StoreVolumes) {
		write = append(write, s.Dir.Resolve(d))
	}
	read := []string{"/etc", "/usr/share/zoneinfo", "/usr/share/ca-certificates", "/proc",
		"/sys/fs/cgroup", "/run/systemd", "/dev/null", "/dev/urandom"}
	for _, key := range []settings.ListKey{settings.TLSCertificate, settings.TLSKey} {
		for _, path := range v.List(key) {
			read = append(read, certDirs(s.Dir.Resolve(path))...)
		}
	}
	for _, key := range listenKeys() {
		for _, a := range v.List(key) {
			if path, ok := unixPath(a); ok {
				write = append(write, filepath.Dir(path))
			}
		}
	}
	var around []string // of a directory that was made for the socket only
	if control.Network() == "unix" {
		dir := filepath.Dir(control.String())
		write = append(write, dir)
		if dir != s.Dir.Path() {
			around = append(around, filepath.Dir(dir))
		}
	}
	if s.options.Config != "" {
		read = append(read, filepath.Dir(s.options.Config))
	}
	err = landlock.V4.BestEffort().RestrictPaths(
		landlock.RWDirs(write...).IgnoreIfMissing(),
		landlock.PathAccess(syscall.AccessFSRemoveDir, around...).IgnoreIfMissing(),
		landlock.ROFiles(files(read)...).IgnoreIfMissing(),
		landlock.RODirs(dirs(read)...).IgnoreIfMissing(),
	)
	if err != nil {
		return false, err
	}
	s.logger("server").Info("confined to its own directories", "landlock", version)
	return true, nil
}

// certDirs are the directory of a certificate and the one that a link leads
// to, so that a renewed certificate can be read.
func certDirs(path string) []string {
	list := []string{filepath.Dir(path)}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		list = append(list, filepath.Dir(real))
	}
	return list
}

func files(paths []string) []string { return split(paths, false) }
func dirs(paths []string) []string  { return split(paths, true) }

// mayRead says whether the user may read a file, Landlock aside.
func mayRead(path string) bool { return unix.Access(path, unix.R_OK) == nil }
