package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postrider/internal/settings"
)

// endingCertificate writes one that ends so far from now, with its key, into a file.
func endingCertificate(t *testing.T, left time.Duration) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.test"},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.Add(left)}
	leaf, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	path := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A certificate that has ended, or soon will, is told at the start.
func TestCertificateEnds(t *testing.T) {
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		left time.Duration
		want string // in the log; empty: nothing is told
		days int
	}{
		"expired": {-36 * time.Hour, "a certificate has expired: renew it", -2},
		"soon":    {13*day + time.Hour, "a certificate ends soon: renew it", 13},
		"later":   {14*day + time.Hour, "", 14},
	} {
		t.Run(name, func(t *testing.T) {
			path := endingCertificate(t, tt.left)
			f := start(t, filepath.Join(t.TempDir(), "data"),
				append(slices.Clone(everyDoor), "tls.certificate="+path, "tls.key="+path)...)
			st, err := f.Status(t.Context())
			if err != nil || len(st.Certificates) != 1 || st.Certificates[0].Days != tt.days {
				t.Errorf("status: got %+v, %v; want %d days", st.Certificates, err, tt.days)
			}
			f.shutdown()
			if got := strings.Contains(f.log.String(), " 2 tls "+tt.want); got != (tt.want != "") {
				t.Errorf("want %q in the log:\n%s", tt.want, f.log.String())
			}
		})
	}
}

// A change of tls.reload holds at once, not when the old time is over.
func TestRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var every atomic.Int64
		var looks atomic.Int32
		every.Store(int64(7 * 24 * time.Hour))
		changed := make(chan struct{}, 1)
		go repeat(ctx, func() time.Duration { return time.Duration(every.Load()) }, changed,
			func() { looks.Add(1) })
		for _, tt := range []struct {
			every, wait time.Duration
			want        int32
		}{{time.Minute, 90 * time.Second, 1}, {0, 30 * 24 * time.Hour, 0}, {time.Hour, 3 * time.Hour, 2}} {
			looks.Store(0)
			every.Store(int64(tt.every))
			changed <- struct{}{}
			time.Sleep(tt.wait - time.Second)
			if got := looks.Load(); got != tt.want {
				t.Errorf("every %v: got %d looks in %v, want %d", tt.every, got, tt.wait, tt.want)
			}
		}
	})
}

// A failed reload is in the log, whoever asked for it.
func TestReloadFails(t *testing.T) {
	path := endingCertificate(t, 24*time.Hour)
	f := start(t, filepath.Join(t.TempDir(), "data"),
		append(slices.Clone(everyDoor), "tls.certificate="+path, "tls.key="+path)...)
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reload(t.Context()); err == nil {
		t.Error("a broken certificate was loaded")
	}
	if err := os.WriteFile(f.dir.Config(), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reload(t.Context()); err == nil {
		t.Error("a broken file was loaded")
	}
	if err := os.Remove(f.dir.Config()); err != nil {
		t.Fatal(err)
	}
	f.shutdown() // which writes the log
	for _, want := range []string{" 1 tls certificates not changed error=",
		" 1 server not reloaded error="} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("want %q in the log:\n%s", want, f.log.String())
		}
	}
}

// What the settings and the log command know as components is what logs.
func TestLogComponents(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), everyDoor...)
	known := settings.LogComponents()
	if !slices.IsSorted(known) {
		t.Errorf("not sorted: %q", known)
	}
	for _, l := range f.LogLevels() {
		if !slices.Contains(known, l.Component) {
			t.Errorf("%q logs and is not known", l.Component)
		}
	}
}
