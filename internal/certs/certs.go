// Package certs keeps the server's certificates: it loads them from PEM
// files, chooses one by the name that a client asks for (SNI), loads them
// again when they have changed, and makes a certificate for the first run.
//
// Whatever goes wrong while loading again, the certificates in use stay.
package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postrider/internal/mail"
)

// Config says which certificates are used.
type Config struct {
	// Certificates and Keys are paths of PEM files in the same order, each
	// certificate with its chain. The first is for clients that name no
	// server, or one that no certificate has.
	Certificates []string
	Keys         []string
	// SelfMade is where a certificate of the server's own is kept, with its
	// key, when there are no others. It is made if it is missing.
	SelfMade string
	// Hosts are the names and addresses of the certificate of its own,
	// besides localhost and the loopback addresses.
	Hosts []string
	// MinVersion is the oldest version spoken; 0 is TLS 1.2.
	MinVersion uint16
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// ParseVersion reads "1.2" or "1.3".
func ParseVersion(s string) (uint16, error) {
	switch s {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, mail.Errorf(mail.Invalid, "TLS version "+s+": want 1.2 or 1.3")
}

// A Store holds the certificates in use. Its methods may be called
// concurrently.
type Store struct {
	current atomic.Pointer[state]

	mu     sync.Mutex // held while certificates are loaded
	config Config
}

// A state is one set of certificates; it never changes.
type state struct {
	config *tls.Config
	all    []*tls.Certificate            // in the order of the files, never empty
	named  map[string][]*tls.Certificate // by lower-case name; "*.x" for wild cards
	files  []stamp
}

// A stamp tells whether a file has changed.
type stamp struct {
	path string
	time time.Time
	size int64
}

// Open loads the certificates, or makes one. Errors of kind Invalid or
// Conflict name the file and what is wrong with it.
func Open(c Config) (*Store, error) {
	s := new(Store)
	if err := s.Configure(c); err != nil {
		return nil, err
	}
	return s, nil
}

// Configure changes to another configuration and loads what it names. On an
// error everything stays as it was. Connections that exist keep theirs.
func (s *Store) Configure(c Config) error {
	if c.Now == nil {
		c.Now = time.Now
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := load(c)
	if err != nil {
		return err
	}
	s.config = c
	s.current.Store(next)
	return nil
}

// Reload loads the files again. On an error the certificates in use stay.
func (s *Store) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := load(s.config)
	if err != nil {
		return err
	}
	s.current.Store(next)
	return nil
}

// ReloadChanged loads the files again if one of them has changed, or if the
// server's own certificate is about to end, and reports whether it did.
func (s *Store) ReloadChanged() (bool, error) {
	s.mu.Lock()
	own := len(s.config.Certificates) == 0
	now := s.config.Now()
	s.mu.Unlock()
	current := s.current.Load()
	changed := own && current.all[0].Leaf.NotAfter.Sub(now) < renewBefore
	for _, f := range current.files {
		if now, err := stampOf(f.path); err != nil || !now.time.Equal(f.time) || now.size != f.size {
			changed = true
		}
	}
	if !changed {
		return false, nil
	}
	return true, s.Reload()
}

// Try says whether the certificates that a configuration names can be loaded
// now. It makes none and changes nothing. Errors are those of Open.
func Try(c Config) error {
	if len(c.Certificates) == 0 && len(c.Keys) == 0 {
		return nil
	}
	_, err := load(c)
	return err
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{path, info.ModTime(), info.Size()}, nil
}

// load reads everything that a configuration names.
func load(c Config) (*state, error) {
	if len(c.Certificates) != len(c.Keys) {
		return nil, mail.Errorf(mail.Invalid, fmt.Sprintf(
			"tls.certificate names %d files and tls.key %d: want a key for each certificate",
			len(c.Certificates), len(c.Keys)))
	}
	s := &state{named: make(map[string][]*tls.Certificate)}
	certs, keys := c.Certificates, c.Keys
	if len(certs) == 0 {
		if err := ensureOwn(c); err != nil {
			return nil, err
		}
		certs, keys = []string{c.SelfMade}, []string{c.SelfMade}
	}
	for i := range certs {
		// Stamps are taken first, so that a change while reading is seen
		// next time.
		for _, path := range []string{certs[i], keys[i]} {
			at, err := stampOf(path)
			if err != nil {
				return nil, fileError(path, err)
			}
			s.files = append(s.files, at)
		}
		cert, err := loadPair(certs[i], keys[i])
		if err != nil {
			return nil, err
		}
		s.add(cert)
	}
	s.config = serverConfig(c.MinVersion, s.choose)
	return s, nil
}

func loadPair(certPath, keyPath string) (*tls.Certificate, error) {
	certPEM, err := os.ReadFile(certPath)
	if err != nil {
		return nil, fileError(certPath, err)
	}
	keyPEM, err := os.ReadFile(keyPath)
	if err != nil {
		return nil, fileError(keyPath, err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "tls: ")
		if certPath != keyPath {
			text += " (key file " + keyPath + ")"
		}
		return nil, mail.Errorf(mail.Invalid, "certificate file "+certPath+": "+text)
	}
	return &cert, nil
}

func fileError(path string, err error) error {
	kind := mail.Internal
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = mail.Conflict // NotFound is for what is kept here, such as accounts
	case errors.Is(err, fs.ErrPermission):
		kind = mail.Denied
	}
	return &mail.Error{Kind: kind, Text: "certificate or key file " + path, Err: err}
}

// add enters a certificate under its names.
func (s *state) add(cert *tls.Certificate) {
	s.all = append(s.all, cert)
	names := cert.Leaf.DNSNames
	if len(names) == 0 && cert.Leaf.Subject.CommonName != "" {
		names = []string{cert.Leaf.Subject.CommonName} // old private ones
	}
	for _, name := range names {
		name = strings.ToLower(name)
		s.named[name] = append(s.named[name], cert)
	}
}

// matching gives the certificates for a server name, the first one that a
// client can use being the one it gets. RFC 6066 section 3 allows to go on with a
// name that is unknown, and mail clients often ask for one.
func (s *state) matching(name string) []*tls.Certificate {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if found := s.named[name]; found != nil {
		return found
	}
	if _, rest, ok := strings.Cut(name, "."); ok {
		if found := s.named["*."+rest]; found != nil {
			return found
		}
	}
	return s.all[:1]
}

// choose picks the certificate for a handshake: where a name has several, the
// first of a kind that the client understands (ECDSA or RSA).
func (s *state) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	found := s.matching(hello.ServerName)
	if len(found) > 1 {
		for _, cert := range found {
			if hello.SupportsCertificate(cert) == nil {
				return cert, nil
			}
		}
	}
	return found[0], nil
}

// Config is the TLS configuration for new connections of servers. It must
// not be changed. It is one atomic load, so that listeners ask for it at each
// connection and see a reload.
func (s *Store) Config() *tls.Config { return s.current.Load().config }

// Certificate gives the DER form of the certificate for a server name, as a
// client without a name or with an unknown one gets it too; for the channel
// binding tls-server-end-point. If a name has several certificates it is the
// first of them.
func (s *Store) Certificate(serverName string) []byte {
	return s.current.Load().matching(serverName)[0].Certificate[0]
}

// suites are those of TLS 1.2 with forward secrecy and authenticated
// encryption. TLS 1.3 has no others.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// serverConfig makes the configuration of the mail ports. Session tickets are
// off: some large senders take what follows a resumed session wrong and drop
// the mail.
func serverConfig(
	minVersion uint16, choose func(*tls.ClientHelloInfo) (*tls.Certificate, error),
) *tls.Config {
	return &tls.Config{
		MinVersion:             max(minVersion, tls.VersionTLS12),
		CipherSuites:           suites,
		SessionTicketsDisabled: true,
		GetCertificate:         choose,
	}
}

// Info describes a certificate in use.
type Info struct {
	File     string    `json:"file"`
	Names    []string  `json:"names"`
	Issuer   string    `json:"issuer"`
	SelfMade bool      `json:"self_made"`
	Ends     time.Time `json:"ends"`
	Days     int       `json:"days"` // left, whole; below 0 it has ended
}

// List describes the certificates in use, the default one first.
func (s *Store) List() []Info {
	s.mu.Lock()
	now, own := s.config.Now(), len(s.config.Certificates) == 0
	s.mu.Unlock()
	current := s.current.Load()
	list := make([]Info, len(current.all))
	for i, cert := range current.all {
		leaf := cert.Leaf
		names := append([]string(nil), leaf.DNSNames...)
		for _, ip := range leaf.IPAddresses {
			names = append(names, ip.String())
		}
		list[i] = Info{
			File: current.files[2*i].path, Names: names, Issuer: leaf.Issuer.String(),
			SelfMade: own, Ends: leaf.NotAfter, Days: days(leaf.NotAfter.Sub(now)),
		}
	}
	return list
}

// days rounds down, also below zero.
func days(left time.Duration) int {
	d := int(left / (24 * time.Hour))
	if left < 0 {
		d--
	}
	return d
}
