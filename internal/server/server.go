// Package server wires, starts and stops everything: it opens the engine of
// a data directory, opens the doors, and serves until it is told to stop.
package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postrider/internal/auth"
	"postrider/internal/certs"
	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/engine"
	"postrider/internal/journal"
	"postrider/internal/link"
	"postrider/internal/mail"
	"postrider/internal/settings"
	"postrider/internal/store/room"
)

// Options say what to serve.
type Options struct {
	Dir *datadir.Dir // the caller holds its lock
	// Config is the settings file of --config; empty means postrider.toml
	// in the data directory, if it exists.
	Config        string
	Sets          []string // KEY=VALUE of --set
	AcceptRestore bool     // serve a database older than its volumes
	Version       string
	Stderr        io.Writer // for log.target=stderr
	// Confine gives up, once the server has started, the right to use files
	// that are not its own, where the system can do that. It holds for the
	// whole process and for good.
	Confine bool
	// Service says that a service manager has started the process, for people.
	Service bool
}

// A Server is an open engine with its doors.
type Server struct {
	*engine.Engine
	auth    *auth.Authenticator
	control *control.Control
	journal *journal.Journal

	options Options
	started time.Time
	host    string // the name the server gives itself
	certs   *certs.Store
	metrics *journal.Metrics
	doors   []*door
	scrape  []net.Listener // of the metrics
	first   *control.AccountPasswordReply
	changes []change

	confined  bool          // by Start
	watch     chan struct{} // tls.reload has changed
	certsWait atomic.Bool   // certificates of the settings cannot be read before a restart

	fatal    chan error
	stop     chan struct{}
	stopOnce sync.Once
	group    sync.WaitGroup
	cancel   context.CancelFunc
}

// New opens the data directory and makes ready; nothing is served yet.
func New(ctx context.Context, o Options) (_ *Server, err error) {
	s := &Server{options: o, started: time.Now(), stop: make(chan struct{}),
		watch: make(chan struct{}, 1),
		fatal: make(chan error, 1), metrics: journal.NewMetrics(o.Version)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	cfg := engine.Config{Dir: o.Dir, File: o.Config, Set: o.Sets, AcceptRestore: o.AcceptRestore,
		Fatal: func(err error) { s.fatal <- err }}
	if err := s.openJournal(cfg); err != nil {
		return nil, err
	}
	cfg.Log = s.logger("store")
	if s.Engine, err = engine.Open(ctx, cfg); err != nil {
		return nil, err
	}
	for _, w := range s.Warnings {
		s.logger("settings").Warn(w)
	}
	for _, name := range s.Settings.Sealed() {
		s.logger("settings").Error("a secret cannot be opened with this secret.key: set it anew",
			"setting", name)
	}
	return s, s.prepare(ctx)
}

// openJournal opens the log as file and flags want it; followLog adds what
// the database says. Nothing is removed before: it may want old files kept.
func (s *Server) openJournal(cfg engine.Config) error {
	reg, _, err := engine.Settings(cfg)
	if err != nil {
		return err
	}
	v := reg.Current()
	levels, err := journal.ParseLevels(v.List(settings.LogLevels))
	if err != nil {
		return err
	}
	s.journal, err = journal.New(journal.Config{
		Target: v.String(settings.LogTarget), Format: v.String(settings.LogFormat),
		Directory: cfg.Dir.Resolve(v.String(settings.LogDirectory)),
		Level:     v.Int(settings.LogLevel), Levels: levels, Stderr: s.options.Stderr})
	if err != nil {
		return err
	}
	for _, name := range settings.LogComponents() {
		s.logger(name) // so that its level can be set before its first record
	}
	return nil
}

func (s *Server) logger(component string) *slog.Logger { return s.journal.For(component) }

func (s *Server) prepare(ctx context.Context) (err error) {
	s.host = hostname(s.Settings.Current())
	if err := s.openCerts(); err != nil {
		return err
	}
	cfg := s.Engine.Auth()
	cfg.Log = s.logger("auth")
	cfg.Certificate = s.certs.Certificate
	s.auth = auth.New(cfg)
	s.control = s.Engine.Control(s.auth, s, s.logger("control"))
	if s.first, err = s.control.FirstRun(ctx); err != nil {
		return err
	}
	s.buildDoors()
	s.onChange("log.", s.followLog)
	s.onChange("tls.", s.followCerts)
	s.onChange("tls.reload", s.followWatch)
	s.Settings.Guard("tls.", s.tryCerts)
	s.followLog()
	s.Settings.Subscribe(s.changed)
	return nil
}

// A change is what to do when settings have changed whose names begin so.
type change struct {
	prefix string
	do     func()
}

// onChange has do called after a change of settings whose names begin with
// prefix. Only before Start.
func (s *Server) onChange(prefix string, do func()) {
	s.changes = append(s.changes, change{prefix, do})
}

func (s *Server) changed(from, to *settings.Values) {
	names := to.Changed(from)
	for _, c := range s.changes {
		if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, c.prefix) }) {
			c.do()
		}
	}
}

// First is the account that a first run has made, with its password; nil
// otherwise.
func (s *Server) First() *control.AccountPasswordReply { return s.first }

// close closes what is open, in the order that loses nothing.
func (s *Server) close() error {
	var err error
	if s.auth != nil {
		s.auth.Close()
	}
	if s.Engine != nil {
		err = s.Engine.Close()
	}
	if s.journal != nil {
		err = errors.Join(err, s.journal.Close())
	}
	return err
}

// Hostname is the name the server gives itself. It stays what it was at the
// start, like that of greetings.
func (s *Server) Hostname() string { return s.host }

func hostname(v *settings.Values) string {
	if h := v.String(settings.ServerHostname); h != "" {
		return h
	}
	h, err := os.Hostname()
	if err != nil || h == "" {
		return "localhost"
	}
	return h
}

// unqualified says what is wrong with a name without a domain (RFC 5321
// section 2.3.5), or nothing.
func unqualified(host string) string {
	if strings.Contains(strings.Trim(host, "."), ".") {
		return ""
	}
	return "the server calls itself " + host + ", which is no qualified name, and other servers may " +
		"refuse that: set server.hostname"
}

// followLog gives the journal what the settings say and may change.
func (s *Server) followLog() {
	v := s.Settings.Current()
	s.journal.Keep(v.Duration(settings.LogKeep))
	if levels, err := journal.ParseLevels(v.List(settings.LogLevels)); err == nil {
		s.journal.Configure(v.Int(settings.LogLevel), levels)
	}
}

// Listen opens every configured address. It may be called as root, before
// the process becomes its own user.
func (s *Server) Listen(ctx context.Context) error {
	in, err := inherit(os.Getenv)
	if err != nil {
		return err
	}
	defer func() {
		for _, unused := range in.close() {
			s.logger("server").Warn("no service wants an inherited socket", "address", unused)
		}
	}()
	v := s.Settings.Current()
	for _, d := range s.doors {
		if d.listeners, err = in.listen(ctx, d.name, v.List(d.listen)); err != nil {
			return err
		}
	}
	s.scrape, err = in.listen(ctx, metricsService, v.List(settings.MetricsListen))
	return err
}

// Start serves on everything that Listen opened and returns.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	token, err := s.Dir.Token()
	if err != nil {
		return err
	}
	socket, err := s.Dir.Listen()
	if err != nil {
		return err
	}
	s.group.Go(func() {
		if err := control.Serve(ctx, socket, token, s.control); err != nil {
			s.logger("control").Error("control socket", "error", err)
		}
	})
	for _, d := range s.doors {
		for _, ln := range d.listeners {
			s.group.Go(func() { s.serve(ctx, d, ln) })
		}
	}
	s.serveMetrics(ctx)
	s.group.Go(func() { s.watchCerts(ctx) })
	s.group.Go(func() { s.warnDaily(ctx) })
	s.group.Go(func() { s.rest(ctx) })
	s.Settings.Started()
	if s.options.Confine {
		if s.confined, err = s.confine(socket.Addr()); err != nil {
			s.logger("server").Warn("the server could not be confined to its files", "error", err)
		}
	}
	if w := unqualified(s.Hostname()); w != "" {
		s.logger("server").Warn(w)
	}
	if text := RootWarning(); text != "" {
		s.logger("server").Error(text)
	}
	s.logger("server").Log(ctx, journal.Major, "started", "version", s.options.Version,
		"pid", os.Getpid(), "host", s.Hostname())
	return nil
}

func (s *Server) serve(ctx context.Context, d *door, ln net.Listener) {
	err := d.link.Serve(ctx, ln)
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, link.ErrClosed) {
		s.logger(d.name).Error("listener ended", "address", addressOf(ln.Addr()), "error", err)
	}
}

// Wait returns when the server shall stop: because Stop was called, or with
// an error when the store cannot go on.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.stop:
		return nil
	case err := <-s.fatal:
		return &mail.Error{Kind: mail.Internal, Err: err,
			Text: "the store cannot be written; start the server again, which recovers"}
	}
}

// Shutdown stops gracefully: no new connections, messages under way are
// finished as long as ctx lives, all others are told 421. Then everything is
// made durable and closed.
func (s *Server) Shutdown(ctx context.Context) error {
	s.logger("server").Log(ctx, journal.Major, "stopping")
	if s.auth != nil {
		s.auth.Close() // a guesser who is slowed down slows down nobody else
	}
	var doors sync.WaitGroup
	for _, d := range s.doors {
		for _, ln := range d.listeners {
			ln.Close()
		}
		doors.Go(func() { d.link.Shutdown(ctx) })
	}
	for _, ln := range s.scrape {
		ln.Close()
	}
	doors.Wait()
	if s.cancel != nil {
		s.cancel()
	}
	s.group.Wait()
	return s.close()
}

// Stop implements control.Host.
func (s *Server) Stop() { s.stopOnce.Do(func() { close(s.stop) }) }

// Reload implements control.Host: settings and certificates are read again.
// Who asked may be a signal, so that a failure is in the log, too.
func (s *Server) Reload(ctx context.Context) ([]string, error) {
	err := s.reloadFile()
	var notes []string
	if err == nil {
		notes, err = s.Settings.Refresh(ctx)
	}
	if err != nil {
		s.logger("server").Error("not reloaded", "error", err)
		return notes, err
	}
	if err := s.reloadCerts(); err != nil {
		s.certsStay(err)
		return notes, err
	}
	for _, key := range append(s.needRestart(), s.Settings.NeedRestart()...) {
		notes = append(notes, key+" needs restart")
	}
	s.logger("server").Log(ctx, journal.Major, "reloaded")
	return notes, nil
}

// needRestart names settings that usually take effect at once and now cannot.
func (s *Server) needRestart() []string {
	if s.certsWait.Load() {
		return []string{"tls.certificate", "tls.key"}
	}
	return nil
}

// reloadFile reads the settings file again; one that is gone sets nothing.
func (s *Server) reloadFile() error {
	name := s.options.Config
	if name == "" {
		name = s.Dir.Config()
	}
	content, err := os.ReadFile(name)
	if err != nil && (s.options.Config != "" || !errors.Is(err, os.ErrNotExist)) {
		return err
	}
	return s.Settings.LoadFile(name, content)
}

// diskWarning is what to tell people of the answer of a room.Guard, or empty.
func diskWarning(err error) string {
	if err == nil || mail.KindOf(err) != mail.Full {
		return ""
	}
	return "the disk is nearly full: mail is refused with 452"
}

// Status implements control.Host.
func (s *Server) Status(context.Context) (control.ServerStatus, error) {
	st := control.ServerStatus{Version: s.options.Version, PID: os.Getpid(), Started: &s.started,
		Hostname: s.Hostname(), DataDirectory: s.Dir.Path(), NeedRestart: s.needRestart(),
		Certificates: s.certs.List(), Service: s.options.Service}
	if w := unqualified(s.Hostname()); w != "" {
		st.Warnings = append(st.Warnings, w)
	}
	if w := diskWarning(room.New(s.Dir.Path()).Check(0)); w != "" {
		st.Warnings = append(st.Warnings, w)
	}
	for _, d := range s.doors {
		for _, ln := range d.listeners {
			st.Listeners = append(st.Listeners, control.Listener{Service: d.name,
				Address: addressOf(ln.Addr()), Sessions: d.link.Stats().Open})
		}
	}
	for _, ln := range s.scrape {
		st.Listeners = append(st.Listeners, control.Listener{Service: metricsService,
			Address: addressOf(ln.Addr())})
	}
	return st, nil
}
