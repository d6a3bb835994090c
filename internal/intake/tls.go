package intake

import "crypto/tls"

// tlsFacts names version and cipher for people, "" without TLS.
func tlsFacts(s *tls.ConnectionState) string {
	if s == nil {
		return ""
	}
	return tls.VersionName(s.Version) + " " + tls.CipherSuiteName(s.CipherSuite)
}
