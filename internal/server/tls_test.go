package server

import (
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
	"testing"
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
