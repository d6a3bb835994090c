package setup

import (
	"context"
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
		return &Service{Note: service.ErrNone.Text}, nil
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
	if m != service.Windows && datadir.Owner(dir.Path()) == "" {
		if _, err := i.EnsureUser(ctx, runtime.GOOS, cfg.User, dir.Path()); err != nil {
			return nil, err
		}
		if err := datadir.Give(dir.Path(), cfg.User); err != nil {
			return nil, err
		}
	}
	r := &Service{Manager: string(m), User: cfg.User}
	r.File, _ = m.File(cfg)
	r.Start, err = i.Install(ctx, m, cfg)
	return r, err
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
