package server

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"postrider/internal/certs"
	"postrider/internal/settings"
)

// certConfig is what the settings say of certificates.
func (s *Server) certConfig() (certs.Config, error) {
	c, err := s.Certificates(s.Settings.Current())
	c.Hosts = []string{s.Hostname()}
	return c, err
}

// tryCerts guards changes of the settings. A confined server cannot open just
// any file: one that its user may read is taken, and waits for a restart.
func (s *Server) tryCerts(from, to *settings.Values) error {
	err := s.TryCertificates(from, to)
	path, ok := errors.AsType[*fs.PathError](err)
	if ok && s.confined && errors.Is(err, fs.ErrPermission) && mayRead(path.Path) {
		return nil
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
		s.logger("tls").Error("certificates not changed", "error", err)
	}
}

// watchCerts looks every tls.reload whether certificate files have changed.
func (s *Server) watchCerts(ctx context.Context) {
	for {
		every := s.Settings.Current().Duration(settings.TLSReload)
		if every <= 0 {
			every = time.Hour
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		if s.Settings.Current().Duration(settings.TLSReload) <= 0 {
			continue
		}
		changed, err := s.certs.ReloadChanged()
		if err != nil {
			s.logger("tls").Error("certificates not reloaded", "error", err)
		} else if changed {
			s.logger("tls").Info("certificates reloaded")
		}
	}
}
