package setup

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"postrider/internal/datadir"
	"postrider/internal/engine"
	"postrider/internal/service"
	"postrider/internal/settings"
)

// A Service tells how the machine starts the server.
type Service struct {
	Manager string `json:"manager"`        // "systemd", "launchd", "windows", or empty
	File    string `json:"file,omitempty"` // what was written
	User    string `json:"user,omitempty"`
	Start   string `json:"start,omitempty"` // the command that starts it now
	Note    string `json:"note,omitempty"`
}

// Lines tell it in words.
func (s *Service) Lines() []string {
	var list []string
	if s.Manager != "" {
		line := "The service is installed"
		if s.File != "" {
			line += " as " + s.File
		}
		if s.User != "" {
			line += " and runs as " + s.User
		}
		list = append(list, line+".")
	} else if s.User != "" {
		list = append(list, "A server that root starts runs as "+s.User+".")
	}
	if s.Note != "" {
		list = append(list, "Note: "+s.Note+".")
	}
	return list
}

// serviceUser is whom the service runs as, unless something else is said.
const serviceUser = "postrider"

// InstallService gives the server a user of its own and has the machine
// start it. Where no manager is known it says so in a note.
func InstallService(ctx context.Context, dir *datadir.Dir, user string) (*Service, error) {
	m := service.Detect(runtime.GOOS)
	if m == service.None {
		return unmanaged(ctx, service.Installer{}, runtime.GOOS, dir, user), nil
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(program, os.TempDir()) {
		return &Service{Note: "the service is not installed, because this program was built " +
			"for one run only: build it into its place (go build -o /usr/local/bin/postrider " +
			"./cmd/postrider) and run \"postrider service install\""}, nil
	}
	cfg, err := ServiceConfig(dir, user, program)
	if err != nil {
		return nil, err
	}
	var i service.Installer
	if m != service.Windows {
		if err := giveAway(ctx, i, runtime.GOOS, dir, cfg.User); err != nil {
			return nil, err
		}
	}
	r := &Service{Manager: string(m), User: cfg.User}
	r.File, _ = m.File(cfg)
	r.Start, err = i.Install(ctx, m, cfg)
	return r, err
}

// giveAway gives a directory of root's to the user of the server, who is made
// if there is none.
func giveAway(ctx context.Context, i service.Installer, goos string, dir *datadir.Dir,
	user string) error {
	if datadir.Owner(dir.Path()) != "" {
		return nil
	}
	if _, err := i.EnsureUser(ctx, goos, user, dir.Path()); err != nil {
		return err
	}
	return datadir.Give(dir.Path(), user)
}

// unmanaged is what is left to do where no manager starts services, as in a
// container: a server that root starts runs as the owner of its directory,
// which must not be root.
func unmanaged(ctx context.Context, i service.Installer, goos string, dir *datadir.Dir,
	user string) *Service {
	s := &Service{User: cmp.Or(user, datadir.Owner(dir.Path()), serviceUser),
		Note: service.ErrNone.Text}
	if err := giveAway(ctx, i, goos, dir, s.User); err != nil {
		s.User = ""
		s.Note += fmt.Sprintf("; it would run as root, since the directory could not be given to a"+
			" user of its own (%v): name one with --user", err)
	}
	return s
}

// ServiceConfig gathers what the service runs: a program on a data directory, as
// a user, or else as the owner of the directory, or else as one of its own.
func ServiceConfig(dir *datadir.Dir, user, program string) (service.Config, error) {
	cfg := service.Config{Program: program, Data: dir.Path(), User: user}
	if cfg.User == "" {
		cfg.User = datadir.Owner(dir.Path())
	}
	if cfg.User == "" && runtime.GOOS != "windows" {
		cfg.User = serviceUser
	}
	reg, _, err := engine.Settings(engine.Config{Dir: dir})
	if err != nil {
		return cfg, err
	}
	v := reg.Current()
	paths := append([]string{v.String(settings.LogDirectory)}, v.List(settings.StoreVolumes)...)
	for _, path := range paths {
		if filepath.IsAbs(path) {
			cfg.Writes = append(cfg.Writes, path)
		}
	}
	return cfg, nil
}
