package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"
)

// handshake makes a TLS connection in memory and gives the states of both
// ends and the server's certificate. Version 0 is the newest.
func handshake(t testing.TB, version uint16) (server, client tls.ConnectionState, der []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "mail.example.org"},
		DNSNames:     []string{"mail.example.org"},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c1, c2 := net.Pipe()
	defer c1.Close()
	defer c2.Close()
	s := tls.Server(c1, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MaxVersion:   version,
		// A ticket would be written while nobody reads the pipe.
		SessionTicketsDisabled: true,
	})
	c := tls.Client(c2, &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org"})
	failed := make(chan error, 1)
	go func() { failed <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	return s.ConnectionState(), c.ConnectionState(), der
}

func serverState(t testing.TB, version uint16) *tls.ConnectionState {
	t.Helper()
	s, _, _ := handshake(t, version)
	return &s
}
