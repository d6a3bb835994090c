package server

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"postrider/internal/certs"
	"postrider/internal/journal"
	"postrider/internal/mail"
	"postrider/internal/settings"
)

// certConfig is what the settings say of certificates.
func (s *Server) certConfig() (certs.Config, error) {
	c, err := s.Certificates(s.Settings.Current())
	c.Hosts = []string{s.Hostname()}
	return c, err
}

// tryCerts guards changes of the settings. A confined server cannot open just
// any file, and what cannot be tried is not taken: the next start could fail.
func (s *Server) tryCerts(from, to *settings.Values) error {
	err := s.TryCertificates(from, to)
	path, ok := errors.AsType[*fs.PathError](err)
	if ok && s.confined && errors.Is(err, fs.ErrPermission) && mayRead(path.Path) {
		return &mail.Error{Kind: mail.Conflict, Err: err, Text: "the running server is confined to " +
			"its own files and cannot try " + path.Path + ": stop it, set this, and start it; or put " +
			"the file under /etc"}
	}
	return err
}

func (s *Server) openCerts() error {
	cfg, err := s.certConfig()
	if err == nil {
		s.certs, err = certs.Open(cfg)
	}
	return err
}

// reloadCerts reads certificates anew, where the settings say now. Those in
// use stay if that fails. A confined server may not read them just anywhere:
// then they wait for a restart.
func (s *Server) reloadCerts() error {
	cfg, err := s.certConfig()
	if err == nil {
		err = s.certs.Configure(cfg)
	}
	waits := s.confined && errors.Is(err, fs.ErrPermission)
	s.certsWait.Store(waits)
	if waits {
		return nil
	}
	return err
}

// followCerts is reloadCerts for a changed setting.
func (s *Server) followCerts() {
	if err := s.reloadCerts(); err != nil {
		s.certsStay(err)
		return
	}
	s.warnOfCerts()
}

// certsStay tells why the certificates in use stay.
func (s *Server) certsStay(err error) {
	s.logger("tls").Error("certificates not changed", "error", err)
}

// followWatch has watchCerts begin again, with another tls.reload.
func (s *Server) followWatch() {
	select {
	case s.watch <- struct{}{}:
	default:
	}
}

// watchCerts looks every tls.reload whether certificate files have changed.
func (s *Server) watchCerts(ctx context.Context) {
	every := func() time.Duration { return s.Settings.Current().Duration(settings.TLSReload) }
	repeat(ctx, every, s.watch, s.lookAtCerts)
}

// repeat does something each time that every has passed, which 0 means never.
// It begins anew when it is told that every has changed.
func repeat(ctx context.Context, every func() time.Duration, changed <-chan struct{}, do func()) {
	for {
		var next <-chan time.Time
		if d := every(); d > 0 {
			next = time.After(d)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-next:
			do()
		}
	}
}

func (s *Server) lookAtCerts() {
	changed, err := s.certs.ReloadChanged()
	if err != nil {
		s.certsStay(err)
	} else if changed {
		s.logger("tls").Info("certificates reloaded")
		s.warnOfCerts()
	}
}

// How long before its end a certificate is warned of, and how often.
const (
	certWarnDays  = 14
	certWarnEvery = 24 * time.Hour
)

// warnDaily warns of certificates at the start and each day.
func (s *Server) warnDaily(ctx context.Context) {
	tick := time.NewTicker(certWarnEvery)
	defer tick.Stop()
	for {
		s.warnOfCerts()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// warnOfCerts tells of certificates that have ended or soon will: clients
// refuse them.
func (s *Server) warnOfCerts() {
	for _, c := range s.certs.List() {
		text := "a certificate ends soon: renew it"
		switch {
		case c.Days >= certWarnDays:
			continue
		case c.Days < 0:
			text = "a certificate has expired: renew it"
		}
		s.logger("tls").Log(context.Background(), journal.Major, text, "file", c.File,
			"names", strings.Join(c.Names, ","), "ends", c.Ends.UTC().Format(time.DateTime),
			"days", c.Days)
	}
}
