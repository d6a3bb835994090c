package clients

import (
	"path/filepath"
	"strings"
	"testing"
)

// openssl connects to a service, asks it something, and gives all it says.
func (s *server) openssl(t *testing.T, service, ask string, args ...string) *result {
	t.Helper()
	args = append([]string{"openssl", "s_client", "-connect", "localhost:" + s.port(t, service),
		"-CAfile", filepath.Join(s.dir, "tls.pem"), "-verify_hostname", "localhost",
		"-verify_return_error", "-ign_eof"}, args...)
	return command(t, ask, args...)
}

// TLS at every door that has it: version 1.2 and 1.3, a certificate for the
// name under which we came, no session tickets.
func TestTLS(t *testing.T) {
	need(t, "openssl")
	s := serve(t)
	for _, door := range []struct{ service, start, ask, answer string }{
		{"smtp", "smtp", "EHLO x.example.net\r\nQUIT\r\n", "250-PIPELINING"},
		{"submission", "smtp", "EHLO x.example.net\r\nQUIT\r\n", "250-AUTH SCRAM-SHA-256-PLUS"},
		{"submissions", "", "EHLO x.example.net\r\nQUIT\r\n", "250-AUTH SCRAM-SHA-256-PLUS"},
		{"pop", "pop3", "CAPA\r\nQUIT\r\n", "SASL SCRAM-SHA-256-PLUS"},
		{"pops", "", "CAPA\r\nQUIT\r\n", "SASL SCRAM-SHA-256-PLUS"},
	} {
		for _, version := range []struct{ flag, name string }{
			{"-tls1_2", "TLSv1.2"}, {"-tls1_3", "TLSv1.3"},
		} {
			t.Run(door.service+" "+version.name, func(t *testing.T) {
				args := []string{version.flag}
				if door.start != "" {
					args = append(args, "-starttls", door.start)
				}
				r := s.openssl(t, door.service, door.ask, args...).want(t, 0)
				for _, want := range []string{"New, " + version.name + ", Cipher is ",
					"Verify return code: 0 (ok)", door.answer} {
					if !strings.Contains(r.stdout, want) {
						t.Errorf("%s\nlacks %q", r.stdout, want)
					}
				}
				for _, bad := range []string{"TLS session ticket", "New Session Ticket arrived"} {
					if strings.Contains(r.stdout, bad) {
						t.Errorf("%s\nhas %q", r.stdout, bad)
					}
				}
			})
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	need(t, "openssl")
	s := serve(t)
	for _, old := range []string{"-tls1", "-tls1_1"} {
		for _, service := range []string{"submissions", "pops"} {
			r := s.openssl(t, service, "", old, "-cipher", "ALL:@SECLEVEL=0")
			if r.status == 0 || strings.Contains(r.stdout, "Verify return code: 0 (ok)\n---\n+OK") {
				t.Errorf("%s with %s: %v", service, old, r)
			}
			if !strings.Contains(r.stderr, "protocol version") {
				t.Errorf("%s with %s: %s\nlacks the alert", service, old, r.stderr)
			}
		}
	}
}
