package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"postrider/internal/datadir"
	"postrider/internal/engine"
	"postrider/internal/mail"
	"postrider/internal/service"
	"postrider/internal/settings"
)

// settingsChange shortens what is said of changes.
type settingsChange = settings.Change

// A serviceReply tells how the machine starts the server.
type serviceReply struct {
	Manager string `json:"manager"`        // "systemd", "launchd", "windows", or empty
	File    string `json:"file,omitempty"` // what was written
	User    string `json:"user,omitempty"`
	Start   string `json:"start,omitempty"` // the command that starts it now
	Note    string `json:"note,omitempty"`
}

func (r *serviceReply) lines() []string {
	var list []string
	if r.Manager != "" {
		line := "The service is installed"
		if r.File != "" {
			line += " as " + r.File
		}
		if r.User != "" {
			line += " and runs as " + r.User
		}
		list = append(list, line+".")
	}
	if r.Note != "" {
		list = append(list, "Note: "+r.Note+".")
	}
	return list
}

// serviceUser is whom the service runs as, unless something else is said.
const serviceUser = "postrider"

// installService gives the server a user of its own and has the machine
// start it. Where no manager is known it says so in a note.
func (c *call) installService(ctx context.Context, dir *datadir.Dir) (*serviceReply, error) {
	m := manager()
	if m == service.None {
		return &serviceReply{Note: service.ErrNone.Text}, nil
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(program, os.TempDir()) {
		return &serviceReply{Note: "the service is not installed, because this program was built " +
			"for one run only: build it into its place (go build -o /usr/local/bin/postrider " +
			"./cmd/postrider) and run \"postrider service install\""}, nil
	}
	cfg, err := c.serviceConfig(dir, program)
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
	r := &serviceReply{Manager: string(m), User: cfg.User}
	r.File, _ = m.File(cfg)
	r.Start, err = i.Install(ctx, m, cfg)
	return r, err
}

// serviceConfig gathers what the service runs.
func (c *call) serviceConfig(dir *datadir.Dir, program string) (service.Config, error) {
	cfg := service.Config{Program: program, Data: dir.Path(), User: c.opt.user}
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

func (c *call) serviceInstall(ctx context.Context) error {
	dir, err := datadir.Usual(c.opt.data).Find()
	if err != nil {
		return err
	}
	if os.Geteuid() > 0 {
		return mail.Errorf(mail.Denied, "only the administrator of the machine can install a "+
			"service: sudo postrider service install --data "+dir.Path())
	}
	r, err := c.installService(ctx, dir)
	if err != nil {
		return err
	}
	if r.Manager == "" {
		return mail.Errorf(mail.Conflict, r.Note)
	}
	return c.Answer(r, func(w io.Writer) {
		fmt.Fprintln(w, strings.Join(r.lines(), "\n"))
		fmt.Fprintf(w, "It starts at boot. Start it now: %s\n", r.Start)
	})
}

func (c *call) serviceUninstall(ctx context.Context) error {
	m := manager()
	if m == service.None {
		return service.ErrNone
	}
	if err := (service.Installer{}).Uninstall(ctx, m); err != nil {
		return err
	}
	return c.Say(serviceReply{Manager: string(m)}, "The service is removed. The data stays.")
}

func (c *call) serviceShow(context.Context) error {
	dir, err := datadir.Usual(c.opt.data).Find()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cfg, err := c.serviceConfig(dir, program)
	if err != nil {
		return err
	}
	m := manager()
	if m == service.None && runtime.GOOS == "linux" {
		m = service.Systemd // to be read and adapted
	}
	path, content := m.File(cfg)
	if path == "" {
		return service.ErrNone
	}
	r := struct {
		File    string `json:"file"`
		Content string `json:"content"`
	}{path, content}
	return c.Answer(r, func(w io.Writer) { io.WriteString(w, content) })
}
