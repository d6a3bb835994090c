package control

import (
	"context"
	"time"

	"postrider/internal/certs"
	"postrider/internal/mail"
)

// ServerStatus tells how the server is.
type ServerStatus struct {
	Running       bool       `json:"running"`
	Version       string     `json:"version,omitempty"`
	PID           int        `json:"pid,omitempty"`
	Started       *time.Time `json:"started,omitempty"`
	Hostname      string     `json:"hostname,omitempty"`
	DataDirectory string     `json:"data_directory,omitempty"`
	Service       bool       `json:"service"` // started by a service manager
	// Warnings say in plain sentences what should be set otherwise.
	Warnings  []string   `json:"warnings"`
	Listeners []Listener `json:"listeners"`
	// NeedRestart names settings whose change waits for a restart.
	NeedRestart []string `json:"need_restart"`
	// Certificates are those in use, the default one first.
	Certificates []certs.Info `json:"certificates"`
}

// A Listener is where the server can be reached.
type Listener struct {
	Service string `json:"service"` // "smtp", "submission", "pop"…
	Address string `json:"address"`
	// Sessions at the moment, of the whole service.
	Sessions int `json:"sessions"`
}

var errNotRunning = mail.Errorf(mail.Unreachable, "the server is not running")

func (c *Control) status(ctx context.Context, _ None) (ServerStatus, error) {
	s := ServerStatus{}
	if c.host != nil {
		var err error
		if s, err = c.host.Status(ctx); err != nil {
			return s, err
		}
		s.Running = true
	}
	if s.Listeners == nil {
		s.Listeners = []Listener{}
	}
	if s.Warnings == nil {
		s.Warnings = []string{}
	}
	if s.Certificates == nil {
		s.Certificates = []certs.Info{}
	}
	s.NeedRestart = append(s.NeedRestart, c.settings.NeedRestart()...)
	if s.NeedRestart == nil {
		s.NeedRestart = []string{}
	}
	return s, nil
}

func (c *Control) stop(context.Context, None) (None, error) {
	if c.host == nil {
		return None{}, errNotRunning
	}
	c.host.Stop()
	return None{}, nil
}

// ReloadReply tells what a reload could not do.
type ReloadReply struct {
	Notes []string `json:"notes"`
}

func (c *Control) reload(ctx context.Context, _ None) (ReloadReply, error) {
	if c.host == nil {
		return ReloadReply{}, errNotRunning
	}
	notes, err := c.host.Reload(ctx)
	if notes == nil {
		notes = []string{}
	}
	return ReloadReply{Notes: notes}, err
}
