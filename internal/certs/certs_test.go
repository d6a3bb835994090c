package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/mail"
)

// pair writes a certificate for hosts into files and returns their paths.
func pair(t *testing.T, key crypto.Signer, hosts ...string) (cert, secret string) {
	t.Helper()
	both, err := selfSign(key, hosts, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(both), "-----BEGIN PRIVATE")
	dir := t.TempDir()
	cert, secret = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, content := range map[string][]byte{cert: both[:at], secret: both[at:]} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, secret
}

func ecdsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// handshake connects a client to the store and returns what the client sees.
func handshake(t *testing.T, s *Store, c *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	c.InsecureSkipVerify = c.RootCAs == nil
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	srv := tls.Server(b, s.Config())
	served := make(chan error, 1)
	go func() { served <- srv.Handshake() }()
	cl := tls.Client(a, c)
	err := cl.Handshake()
	if err != nil {
		a.Close()
	}
	err = errors.Join(err, <-served)
	return cl.ConnectionState(), err
}

func TestSelfMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "certificate.pem")
	now := time.Now()
	c := Config{SelfMade: path, Hosts: []string{"Mail.Example.org", "192.0.2.7", "", "bad name"},
		Now: func() time.Time { return now }}
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
			t.Errorf("got mode %v want 0600", info.Mode())
		}
	}
	leaf, _ := x509.ParseCertificate(s.Certificate(""))
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	for _, host := range []string{"mail.example.org", "localhost", "127.0.0.1", "::1", "192.0.2.7"} {
		_, err := handshake(t, s, &tls.Config{ServerName: host, RootCAs: roots})
		if err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	info := s.List()
	if len(info) != 1 || !info[0].SelfMade || info[0].Days != 819 || info[0].File != path {
		t.Errorf("got %+v", info)
	}
	first, _ := os.ReadFile(path)
	if changed, err := s.ReloadChanged(); changed || err != nil {
		t.Errorf("reloaded for nothing: %v, %v", changed, err)
	}
	if _, err := Open(c); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(path); !slices.Equal(first, again) {
		t.Error("the certificate was made anew for nothing")
	}
	now = now.Add(ownLife - renewBefore + time.Hour)
	if changed, err := s.ReloadChanged(); !changed || err != nil {
		t.Fatalf("not renewed: %v, %v", changed, err)
	}
	renewed, _ := x509.ParseCertificate(s.Certificate(""))
	if !renewed.NotAfter.After(now.Add(800 * 24 * time.Hour)) {
		t.Errorf("ends %v", renewed.NotAfter)
	}
	if !renewed.PublicKey.(*ecdsa.PublicKey).Equal(leaf.PublicKey) {
		t.Error("the key has changed at renewal")
	}
	c.Hosts = []string{"other.example.org"}
	if err := s.Configure(c); err != nil {
		t.Fatal(err)
	}
	if got := s.List()[0].Names[0]; got != "other.example.org" {
		t.Errorf("after another host name: got %s", got)
	}
	files, _ := os.ReadDir(filepath.Dir(path))
	if len(files) != 1 {
		t.Errorf("files left behind: %v", files)
	}
}

func TestChooseByName(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	for _, p := range []struct {
		key   crypto.Signer
		hosts []string
	}{
		{ecdsaKey(t), []string{"default.example"}},
		{ecdsaKey(t), []string{"a.example", "*.wild.example"}},
		{rsaKey, []string{"a.example"}},
	} {
		cert, key := pair(t, p.key, p.hosts...)
		c.Certificates, c.Keys = append(c.Certificates, cert), append(c.Keys, key)
	}
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	old := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, x := range []struct {
		name   string
		suites []uint16
		want   int
	}{
		{"", nil, 0}, {"default.example", nil, 0}, {"unknown.example", nil, 0},
		{"a.example", nil, 1}, {"A.EXAMPLE", nil, 1}, {"x.wild.example", nil, 1},
		{"x.y.wild.example", nil, 0}, {"wild.example", nil, 0},
		{"a.example", old, 2},
	} {
		client := &tls.Config{ServerName: x.name, CipherSuites: x.suites}
		if x.suites != nil {
			client.MaxVersion = tls.VersionTLS12
		}
		got, err := handshake(t, s, client)
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if !slices.Equal(got.PeerCertificates[0].Raw, s.current.Load().all[x.want].Certificate[0]) {
			t.Errorf("%s: got the certificate of %v", x.name, got.PeerCertificates[0].DNSNames)
		}
		if x.suites == nil && !slices.Equal(s.Certificate(x.name), got.PeerCertificates[0].Raw) {
			t.Errorf("%s: Certificate gives another one than the handshake", x.name)
		}
	}
	var names [][]string
	for _, info := range s.List() {
		names = append(names, info.Names)
	}
	want := [][]string{{"default.example"}, {"a.example", "*.wild.example"}, {"a.example"}}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestVersionsAndTickets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "certificate.pem")
	for _, c := range []struct {
		min, client uint16
		suites      []uint16
		ok          bool
	}{
		{0, tls.VersionTLS13, nil, true}, {0, tls.VersionTLS12, nil, true},
		{0, tls.VersionTLS11, nil, false}, {tls.VersionTLS13, tls.VersionTLS13, nil, true},
		{tls.VersionTLS13, tls.VersionTLS12, nil, false},
		{tls.VersionTLS10, tls.VersionTLS11, nil, false},
		{0, tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}, false},
	} {
		s, err := Open(Config{SelfMade: path, MinVersion: c.min})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second could resume
			cache := tls.NewLRUClientSessionCache(1)
			state, err := handshake(t, s, &tls.Config{ServerName: "localhost",
				MinVersion: tls.VersionTLS10, MaxVersion: c.client, CipherSuites: c.suites,
				ClientSessionCache: cache})
			if (err == nil) != c.ok {
				t.Errorf("%x with at least %x: %v", c.client, c.min, err)
			}
			if state.DidResume {
				t.Error("a session was resumed")
			}
			if _, ok := cache.Get("localhost"); ok {
				t.Error("a session ticket was given")
			}
		}
	}
	for in, want := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		if got, err := ParseVersion(in); got != want || err != nil {
			t.Errorf("%s: got %x, %v", in, got, err)
		}
	}
	if _, err := ParseVersion("1.1"); mail.KindOf(err) != mail.Invalid {
		t.Errorf("1.1: %v", err)
	}
}

// TestReload replaces files: a good one is taken, a bad one leaves what was.
func TestReload(t *testing.T) {
	key := ecdsaKey(t)
	cert, secret := pair(t, key, "a.example")
	s, err := Open(Config{Certificates: []string{cert}, Keys: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	first := s.Certificate("")
	running := s.Config()
	otherCert, otherSecret := pair(t, ecdsaKey(t), "b.example")
	replace := func(path, by string, age time.Duration) {
		t.Helper()
		b, err := os.ReadFile(by)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(age)
		os.Chtimes(path, at, at)
	}
	replace(cert, otherCert, time.Minute) // its key is still the old one
	changed, err := s.ReloadChanged()
	if !changed || mail.KindOf(err) != mail.Invalid || !strings.Contains(err.Error(), cert) {
		t.Errorf("certificate without its key: %v, %v", changed, err)
	}
	if !slices.Equal(s.Certificate(""), first) || s.Config() != running {
		t.Error("the certificate in use is gone")
	}
	replace(secret, otherSecret, time.Minute)
	if changed, err := s.ReloadChanged(); !changed || err != nil {
		t.Errorf("good files: %v, %v", changed, err)
	}
	if slices.Equal(s.Certificate(""), first) {
		t.Error("the new certificate is not used")
	}
	if changed, err := s.ReloadChanged(); changed || err != nil {
		t.Errorf("nothing has changed: %v, %v", changed, err)
	}
	os.Remove(cert)
	if err := s.Reload(); mail.KindOf(err) != mail.Conflict {
		t.Errorf("removed: got %v want Conflict", err)
	}
	if err := s.Configure(Config{Certificates: []string{cert}}); mail.KindOf(err) != mail.Invalid {
		t.Errorf("without key: %v", err)
	}
	if got := s.List()[0].Names; !cmp.Equal(got, []string{"b.example"}) {
		t.Errorf("in use: %q", got)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.pem")
	os.WriteFile(bad, []byte("hello"), 0o600)
	cert, _ := pair(t, ecdsaKey(t), "a.example")
	_, foreign := pair(t, ecdsaKey(t), "a.example")
	for name, x := range map[string]struct {
		c    Config
		kind mail.Kind
		text string
	}{
		"nothing":       {Config{}, mail.Invalid, "no place"},
		"no PEM":        {Config{Certificates: []string{bad}, Keys: []string{bad}}, mail.Invalid, bad},
		"bad self made": {Config{SelfMade: bad}, mail.Invalid, "remove it"},
		"foreign key": {Config{Certificates: []string{cert}, Keys: []string{foreign}},
			mail.Invalid, foreign},
		"missing": {Config{Certificates: []string{dir + "/x"}, Keys: []string{dir + "/x"}},
			mail.Conflict, dir},
		"no directory": {Config{SelfMade: filepath.Join(dir, "none", "c.pem")},
			mail.Internal, "write certificate"},
	} {
		_, err := Open(x.c)
		if mail.KindOf(err) != x.kind || err == nil || !strings.Contains(err.Error(), x.text) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if content, _ := os.ReadFile(bad); string(content) != "hello" {
		t.Error("a file that is no certificate was overwritten")
	}
}

func TestDays(t *testing.T) {
	for left, want := range map[time.Duration]int{
		0: 0, time.Hour: 0, 24 * time.Hour: 1, 47 * time.Hour: 1, -time.Hour: -1, -25 * time.Hour: -2,
	} {
		if got := days(left); got != want {
			t.Errorf("%v: got %d want %d", left, got, want)
		}
	}
}

func BenchmarkOpenSelfMade(b *testing.B) {
	path := filepath.Join(b.TempDir(), "certificate.pem")
	for b.Loop() {
		if _, err := Open(Config{SelfMade: path}); err != nil {
			b.Fatal(err)
		}
	}
}
