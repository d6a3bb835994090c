package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"postrider/internal/durable"
	"postrider/internal/mail"
)

const (
	// ownLife is how long the server's own certificate holds. Apple's systems
	// refuse any that holds more than 825 days, even when the user trusts it.
	ownLife = 820 * 24 * time.Hour
	// renewBefore is when it is made anew, with the same key, so that who
	// has pinned the key goes on trusting it.
	renewBefore = 30 * 24 * time.Hour
	// skew is how far a client's clock may be behind.
	skew = time.Hour
)

// ensureOwn makes the server's own certificate if it is missing, ends soon, or
// lacks a host. The key stays the same.
func ensureOwn(c Config) error {
	if c.SelfMade == "" {
		return mail.Errorf(mail.Invalid, "no certificate is given and no place to make one")
	}
	hosts := ownHosts(c.Hosts)
	content, err := os.ReadFile(c.SelfMade)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fileError(c.SelfMade, err)
	}
	var key crypto.Signer
	if err == nil {
		old, err := tls.X509KeyPair(content, content)
		if err != nil {
			return mail.Errorf(mail.Invalid, "certificate file "+c.SelfMade+": "+err.Error()+
				"; remove it to have another one made")
		}
		if holds(old.Leaf, hosts, c.Now()) {
			return nil
		}
		key, _ = old.PrivateKey.(crypto.Signer)
	}
	if key == nil {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return fmt.Errorf("make key: %w", err)
		}
	}
	made, err := selfSign(key, hosts, c.Now())
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	if err := durable.WriteFile(c.SelfMade, 0o600, durable.Bytes(made)); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}

// ownHosts adds the names of this machine to itself; each stands once, and
// those that a certificate cannot hold are left out.
func ownHosts(hosts []string) []string {
	var all []string
	for _, h := range append(slices.Clone(hosts), "localhost", "127.0.0.1", "::1") {
		h = strings.ToLower(strings.TrimSuffix(h, "."))
		if h != "" && len(h) <= 253 && !slices.Contains(all, h) && isASCII(h) {
			all = append(all, h)
		}
	}
	return all
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// holds says whether a certificate can go on being used.
func holds(leaf *x509.Certificate, hosts []string, now time.Time) bool {
	if leaf.NotAfter.Sub(now) < renewBefore || now.Before(leaf.NotBefore) {
		return false
	}
	for _, h := range hosts {
		if leaf.VerifyHostname(h) != nil {
			return false
		}
	}
	return true
}

// selfSign makes a certificate for hosts and gives it with its key as PEM.
func selfSign(key crypto.Signer, hosts []string, now time.Time) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName(hosts[0])},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(ownLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = errors.Join(pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	return b.Bytes(), err
}

// commonName cuts a name to what RFC 5280 appendix A.1 allows.
func commonName(host string) string { return host[:min(len(host), 64)] }
