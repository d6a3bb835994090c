package auth

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"

	_ "crypto/sha512" // for certificates signed with SHA-384 and SHA-512
)

// exporter is the channel binding tls-exporter: 32 bytes of keying material
// under a label of its own (RFC 9266 section 2). Go gives none where it would
// not be unique: TLS 1.2 without the extended master secret.
func exporter(c *Channel) []byte {
	if c.TLS == nil || c.TLS.Version < tls.VersionTLS12 {
		return nil
	}
	b, err := c.TLS.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil
	}
	return b
}

// canBind says whether a -PLUS mechanism is to be had on the channel.
func (a *Authenticator) canBind(c *Channel) bool {
	return !a.cfg.Policy().NoBinding && (a.bindingData(c, "tls-exporter") != nil ||
		a.bindingData(c, "tls-server-end-point") != nil)
}

// bindingData gives the data of a channel binding, nil if it is not known.
func (a *Authenticator) bindingData(c *Channel, kind string) []byte {
	if c.TLS == nil {
		return nil
	}
	switch kind {
	case "tls-exporter":
		return exporter(c)
	case "tls-unique":
		// RFC 5929 section 3 as RFC 9266 section 3 leaves it: not with TLS
		// 1.3, and safe with the extended master secret only, which is when
		// there is an exporter.
		if c.TLS.Version == tls.VersionTLS12 && len(c.TLS.TLSUnique) > 0 && exporter(c) != nil {
			return c.TLS.TLSUnique
		}
	case "tls-server-end-point":
		if a.cfg.Certificate != nil {
			return endPoint(a.cfg.Certificate(c.TLS.ServerName))
		}
	}
	return nil
}

// endPoint hashes a certificate with the hash of its signature, but SHA-256
// in place of MD5 and SHA-1 (RFC 5929 section 4.1). A signature without a
// single hash, Ed25519, leaves the binding undefined.
func endPoint(der []byte) []byte {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	var h crypto.Hash
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		h = crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h = crypto.SHA512
	default:
		return nil
	}
	sum := h.New()
	sum.Write(cert.Raw)
	return sum.Sum(nil)
}
