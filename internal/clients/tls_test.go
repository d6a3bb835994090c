package clients

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postrider/internal/trial"
)

// certificate is the one of the server, without its key: for programs that
// read it as another user.
func (s *server) certificate(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "tls.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return string(pem.EncodeToMemory(block))
		}
	}
	t.Fatal("no certificate in tls.pem")
	return ""
}

// openssl connects to a service, asks it something, and gives all it says.
func (s *server) openssl(t *testing.T, service, ask string, args ...string) *trial.Result {
	t.Helper()
	args = append([]string{"openssl", "s_client", "-connect", "localhost:" + s.port(t, service),
		"-CAfile", filepath.Join(s.dir, "tls.pem"), "-verify_hostname", "localhost",
		"-verify_return_error", "-ign_eof"}, args...)
	return trial.Command(t, ask, args...)
}

// TLS at every door that has it: version 1.2 and 1.3, a certificate for the
// name under which we came, no session tickets.
func TestTLS(t *testing.T) {
	trial.Need(t, "openssl")
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
				r := s.openssl(t, door.service, door.ask, args...).Want(t, 0)
				for _, want := range []string{"New, " + version.name + ", Cipher is ",
					"Verify return code: 0 (ok)", door.answer} {
					if !strings.Contains(r.Stdout, want) {
						t.Errorf("%s\nlacks %q", r.Stdout, want)
					}
				}
				for _, bad := range []string{"TLS session ticket", "New Session Ticket arrived"} {
					if strings.Contains(r.Stdout, bad) {
						t.Errorf("%s\nhas %q", r.Stdout, bad)
					}
				}
			})
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	trial.Need(t, "openssl")
	s := serve(t)
	for _, old := range []string{"-tls1", "-tls1_1"} {
		for _, service := range []string{"submissions", "pops"} {
			r := s.openssl(t, service, "", old, "-cipher", "ALL:@SECLEVEL=0")
			if r.Status == 0 || strings.Contains(r.Stdout, "Verify return code: 0 (ok)\n---\n+OK") {
				t.Errorf("%s with %s: %v", service, old, r)
			}
			if !strings.Contains(r.Stderr, "protocol version") {
				t.Errorf("%s with %s: %s\nlacks the alert", service, old, r.Stderr)
			}
		}
	}
}

// A certificate that an administrator renews is shown after a reload, without
// a restart; one that is broken changes nothing.
func TestCertificateReload(t *testing.T) {
	t.Parallel()
	trial.Need(t, "openssl")
	s := serve(t)
	// In the data directory, because a confined server tries no files elsewhere.
	cert, key := filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "key.pem")
	renew := func(name string) {
		t.Helper()
		trial.Command(t, "", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
			"ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN="+name,
			"-addext", "subjectAltName=DNS:localhost,DNS:"+name, "-keyout", key, "-out", cert).
			Want(t, 0)
	}
	shown := func(want string) {
		t.Helper()
		for _, service := range []string{"pops", "submissions"} {
			r := trial.Command(t, "QUIT\r\n", "openssl", "s_client", "-connect",
				"localhost:"+s.port(t, service), "-servername", "localhost", "-ign_eof").Want(t, 0)
			if !strings.Contains(r.Stdout, "subject=CN = "+want+"\n") &&
				!strings.Contains(r.Stdout, "subject=CN="+want+"\n") {
				t.Errorf("%s does not show the certificate of %s:\n%s", service, want, r.Stdout)
			}
		}
	}
	renew("one.example.org")
	config := file(t, "tls.toml", "[tls]\ncertificate = [\""+cert+"\"]\nkey = [\""+key+"\"]\n")
	says(t, s.dir, "config apply "+config)
	shown("one.example.org")
	renew("two.example.org")
	says(t, s.dir, "reload")
	shown("two.example.org")
	if err := os.WriteFile(cert, []byte("no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, s.dir, "reload", 1, cert)
	shown("two.example.org")
}
