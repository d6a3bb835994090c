package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"postrider/internal/datadir"
	"postrider/internal/mail"
	"postrider/internal/service"
	"postrider/internal/setup"
)

func (c *call) serviceInstall(ctx context.Context) error {
	dir, err := datadir.Usual(c.opt.data).Find()
	if err != nil {
		return err
	}
	if os.Geteuid() > 0 {
		return mail.Errorf(mail.Denied, "only the administrator of the machine can install a "+
			"service: sudo postrider service install --data "+dir.Path())
	}
	r, err := setup.InstallService(ctx, dir, c.opt.user)
	if err != nil {
		return err
	}
	if r.Manager == "" {
		return mail.Errorf(mail.Conflict, r.Note)
	}
	return c.Answer(r, func(w io.Writer) {
		fmt.Fprintln(w, strings.Join(r.Lines(), "\n"))
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
	return c.Say(setup.Service{Manager: string(m)}, "The service is removed. The data stays.")
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
	cfg, err := setup.ServiceConfig(dir, c.opt.user, program)
	if err != nil {
		return err
	}
	m := manager()
	if m == service.None && runtime.GOOS == "linux" {
		m = service.Systemd // to be read and adapted
	}
	path, content := m.File(cfg)
	if path == "" && m == service.Windows {
		return mail.Errorf(mail.NotFound, "the service manager of Windows keeps no file; "+
			"\"postrider service install\" tells it")
	}
	if path == "" {
		return service.ErrNone
	}
	r := struct {
		File    string `json:"file"`
		Content string `json:"content"`
	}{path, content}
	return c.Answer(r, func(w io.Writer) { io.WriteString(w, content) })
}

// manager is the service manager of this machine.
func manager() service.Manager { return service.Detect(runtime.GOOS) }
