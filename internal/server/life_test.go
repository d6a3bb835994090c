package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/internal/control"
	"postrider/internal/settings"
)

// certificate writes a self-signed certificate with its key into one file.
func certificate(t testing.TB, path, host string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{host},
		Subject: pkix.Name{CommonName: host}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// shown is the name in the certificate that a service shows.
func (f *fixture) shown(service string) string {
	f.t.Helper()
	conn, err := tls.Dial("tcp", f.address(service), trust)
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func (f *fixture) set(key, value string, more ...settings.Assignment) {
	f.t.Helper()
	if err := f.trySet(key, value, more...); err != nil {
		f.t.Fatal(key, err)
	}
}

func (f *fixture) trySet(key, value string, more ...settings.Assignment) error {
	f.t.Helper()
	q := control.SettingsSetRequest{Settings: append(more, settings.Assignment{
		Name: key, Value: value})}
	return f.call("settings.set", q, new(control.SettingsReply))
}

func (f *fixture) reload() ([]string, error) {
	f.t.Helper()
	var reply control.ReloadReply
	err := f.call("server.reload", control.None{}, &reply)
	return reply.Notes, err
}

// Certificates follow the settings at once, and their files at a reload.
// What is wrong leaves those in use.
func TestReloadCertificates(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), everyDoor...)
	if got := f.shown("pops"); got != "mx.test" {
		t.Errorf("at first: got %s, want mx.test", got)
	}
	path := filepath.Join(t.TempDir(), "cert.pem")
	certificate(t, path, "one.test")
	if err := f.trySet("tls.key", path); err == nil ||
		!strings.Contains(err.Error(), "tls.key "+path) {
		t.Errorf("half a change: got %v, want one with the command line for both", err)
	}
	f.set("tls.key", path, settings.Assignment{Name: "tls.certificate", Value: path})
	if got := f.shown("pops"); got != "one.test" {
		t.Errorf("after the setting: got %s, want one.test", got)
	}
	certificate(t, path, "two.test")
	if got := f.shown("submissions"); got != "one.test" {
		t.Errorf("before the reload: got %s, want one.test", got)
	}
	if _, err := f.reload(); err != nil {
		t.Error(err)
	}
	if got := f.shown("submissions"); got != "two.test" {
		t.Errorf("after the reload: got %s, want two.test", got)
	}
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.reload(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken file: got %v, want an error that names it", err)
	}
	if got := f.shown("pops"); got != "two.test" {
		t.Errorf("after a failed reload: got %s, want two.test", got)
	}
	f.set("tls.certificate", "", settings.Assignment{Name: "tls.key"})
	if got := f.shown("pops"); got != "mx.test" {
		t.Errorf("reset: got %s, want mx.test", got)
	}
}

// Limits change in sessions that are open; what cannot change says so.
func TestSettingsLive(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), everyDoor...)
	c := dial(t, f.address("smtp"))
	c.want("", "220")
	f.set("smtp.max_size", "100K")
	if got := c.want("EHLO client.test", "250"); !strings.Contains(got, "SIZE 102400") {
		t.Errorf("got %s", got)
	}
	c.want("MAIL FROM:<x@example.net> SIZE=200000", "552 5.3.4")
	f.set("smtp.max_recipients", "100")
	c.want("MAIL FROM:<x@example.net>", "250")
	for range 100 {
		c.want("RCPT TO:<postmaster>", "250")
	}
	c.want("RCPT TO:<postmaster>", "452 4.5.3")
	f.set("smtp.sessions", "1")
	dial(t, f.address("smtp")).want("", "421 4.7.0 too many connections")

	f.set("lmtp.listen", "127.0.0.1:1")
	var st control.ServerStatus
	if err := f.call("server.status", control.None{}, &st); err != nil ||
		!slices.Equal(st.NeedRestart, []string{"lmtp.listen"}) {
		t.Errorf("got %q, %v", st.NeedRestart, err)
	}
}

// A settings file is read again at a reload; a mistake in it changes nothing.
func TestReloadFile(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), everyDoor...)
	write := func(text string) {
		if err := os.WriteFile(f.dir.Config(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("[smtp]\nmax_size = \"1M\"\n\n[log]\nformat = \"json\"\n")
	notes, err := f.reload()
	if err != nil || !slices.Equal(notes, []string{"log.format needs restart"}) {
		t.Errorf("got %q, %v", notes, err)
	}
	if got := f.hallLimits().Size; got != 1<<20 {
		t.Errorf("got %d", got)
	}
	var st control.ServerStatus
	if err := f.call("server.status", control.None{}, &st); err != nil ||
		!slices.Equal(st.NeedRestart, []string{"log.format"}) {
		t.Errorf("got %q, %v", st.NeedRestart, err)
	}
	write("[smtp]\nmax_size = \"lots\"\n")
	if _, err := f.reload(); err == nil || !strings.Contains(err.Error(), "smtp.max_size") {
		t.Errorf("got %v", err)
	}
	if got := f.hallLimits().Size; got != 1<<20 {
		t.Errorf("after a mistake: got %d", got)
	}
	if err := os.Remove(f.dir.Config()); err != nil {
		t.Fatal(err)
	}
	if notes, err := f.reload(); err != nil || len(notes) > 0 {
		t.Errorf("without the file: got %q, %v", notes, err)
	}
	if got := f.hallLimits().Size; got != 64<<20 {
		t.Errorf("without the file: got %d", got)
	}
}

func TestStatusAndStop(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), everyDoor...)
	c := dial(t, f.address("smtp"))
	c.want("", "220")
	var st control.ServerStatus
	if err := f.call("server.status", control.None{}, &st); err != nil {
		t.Fatal(err)
	}
	if !st.Running || st.Version != "1.2.3" || st.PID != os.Getpid() || st.Hostname != "mx.test" ||
		st.DataDirectory != f.dir.Path() || len(st.Listeners) != len(everyDoor) ||
		st.Listeners[0].Sessions != 1 || time.Since(*st.Started) > time.Minute {
		t.Errorf("got %+v", st)
	}
	var none control.None
	if err := f.call("server.stop", none, &none); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.Wait(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("got %v, %v", err, ctx.Err())
	}
	f.Stop() // twice is once
}

// Who is within a message finishes it; the others hear that the server
// stops. What was confirmed is there afterwards.
func TestShutdownFinishes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	f := start(t, path, everyDoor...)
	password := f.First().Password
	busy, idle, pop := dial(t, f.address("smtp")), dial(t, f.address("smtp")), dial(t, f.address("pop"))
	reader := dial(t, f.address("pop"))
	for _, c := range []*client{busy, idle} {
		c.want("", "220")
		c.want("EHLO client.test", "250")
	}
	pop.want("", "+OK")
	reader.want("", "+OK")
	reader.want("USER postmaster", "+OK")
	reader.want("PASS "+password, "+OK")
	busy.want("MAIL FROM:<x@example.net>", "250")
	busy.want("RCPT TO:<postmaster>", "250")
	busy.want("DATA", "354")
	busy.send("Subject: last\r\n\r\nHel")
	address := f.address("smtp")
	done := make(chan struct{})
	go func() {
		f.shutdown()
		close(done)
	}()
	idle.want("", "421 4.3.2 server is stopping")
	pop.want("", "-ERR")
	reader.want("", "-ERR")
	busy.want("lo\r\n.", "250 2.0.0 accepted as ")
	busy.want("", "421 4.3.2")
	<-done
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
	again := start(t, path, everyDoor...)
	c := dial(t, again.address("pop"))
	c.want("", "+OK")
	if got := c.read("postmaster", password); !strings.Contains(got, "Subject: last\n\nHel\nlo\n") {
		t.Errorf("got %s", got)
	}
}

// Who does not come to an end is cut off when the time is over.
func TestShutdownCuts(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), everyDoor...)
	c := dial(t, f.address("smtp"))
	c.want("", "220")
	c.want("EHLO client.test", "250")
	c.want("MAIL FROM:<x@example.net>", "250")
	c.want("RCPT TO:<postmaster>", "250")
	c.want("DATA", "354")
	f.stop.Do(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := f.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		f.lock.Release()
	})
	if line, err := c.text.ReadLine(); err == nil && !strings.HasPrefix(line, "421") {
		t.Errorf("got %q", line)
	}
}

func (f *fixture) scrapeMetrics(token string) (int, string) {
	f.t.Helper()
	return scrape(f.t, f.scrape[0].Addr().String(), token)
}

func scrape(t testing.TB, address, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestMetrics(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), append(everyDoor,
		"metrics.listen=127.0.0.1:0", "smtp.sessions=2")...)
	for range 2 {
		dial(t, f.address("smtp")).want("", "220")
	}
	dial(t, f.address("smtp")).want("", "421")
	code, got := f.scrapeMetrics("")
	if code != http.StatusOK {
		t.Fatalf("got %d", code)
	}
	if shown := f.address("metrics"); shown != f.scrape[0].Addr().String() {
		t.Errorf("status: got %s", shown)
	}
	for _, want := range []string{`postrider_sessions{service="smtp"} 2`,
		`postrider_sessions{service="pops"} 0`, `postrider_sessions_parked{service="smtp"} `,
		`postrider_connections_total{service="smtp"} 3`,
		`postrider_connections_refused_total{limit="sessions",service="smtp"} 1`,
		`postrider_panics_total{service="smtp"} 0`, `postrider_build_info{version="1.2.3"} 1`,
		`postrider_log_records_total{component="server",level="2"} 1`, "go_goroutines ",
		"process_resident_memory_bytes "} {
		if !strings.Contains(got, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	f.set("metrics.token", "sesame")
	for token, want := range map[string]int{"": 401, "wrong": 401, "sesame": 200} {
		if code, _ := f.scrapeMetrics(token); code != want {
			t.Errorf("token %q: got %d, want %d", token, code, want)
		}
	}
	if strings.Contains(f.log.String(), "sesame") {
		t.Error("the token is in the log")
	}
}

// A token that cannot be opened is no reason to do without one.
func TestMetricsTokenLost(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	f := start(t, data, everyDoor...)
	f.set("metrics.token", "sesame")
	f.shutdown()
	if err := os.WriteFile(f.dir.SecretKeyFile(), make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	f = start(t, data, append(slices.Clone(everyDoor), "metrics.listen=127.0.0.1:0")...)
	for _, token := range []string{"", "sesame"} {
		if code, _ := f.scrapeMetrics(token); code != http.StatusServiceUnavailable {
			t.Errorf("token %q: got %d, want %d", token, code, http.StatusServiceUnavailable)
		}
	}
	if got := f.log.String(); !strings.Contains(got, "setting=metrics.token") {
		t.Errorf("the log does not say it: %s", got)
	}
	f.set("metrics.token", "again")
	if code, _ := f.scrapeMetrics("again"); code != http.StatusOK {
		t.Errorf("after it was set anew: got %d", code)
	}
}

// A server that was shut down leaves no goroutine behind.
func TestNoLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		f := start(t, filepath.Join(t.TempDir(), "data"),
			append(everyDoor, "metrics.listen=127.0.0.1:0")...)
		c := dial(t, f.address("smtp"))
		c.want("", "220")
		c.want("HELO client.test", "250")
		c.deliver("postmaster", "Subject: x\r\n\r\nHello")
		dial(t, f.address("pop")).want("", "+OK")
		f.scrapeMetrics("")
		f.shutdown()
	}
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines more than before:\n%s", runtime.NumGoroutine()-before,
				b[:runtime.Stack(b, true)])
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
}
