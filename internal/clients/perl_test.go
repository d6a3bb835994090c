package clients

import (
	"testing"

	"postrider/internal/trial"
)

// needPerl skips the test unless Perl has the modules of testdata/mail.pl.
func needPerl(t *testing.T) {
	t.Helper()
	trial.Need(t, "perl")
	for _, module := range []string{"JSON::PP", "Net::SMTP", "IO::Socket::SSL", "Authen::SASL"} {
		if trial.Command(t, "", "perl", "-M"+module, "-e", "1").Status != 0 {
			t.Skipf("%s of Perl is not installed", module)
		}
	}
}

// perl runs a function of testdata/mail.pl for an account.
func (s *server) perl(t *testing.T, name, account, letter string) {
	t.Helper()
	trial.Command(t, "", "perl", "testdata/mail.pl", name, s.where(t, account, letter, nil)).Want(t, 0)
}

// Net::SMTP sends by DATA and by BDAT, with BODY=BINARYMIME too.
func TestPerlSends(t *testing.T) {
	needPerl(t)
	s := serve(t)
	for _, name := range []string{"send_binary", "send_chunks", "send_refused", "send_8bit"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			account := s.account(t, name)
			s.perl(t, name, account, letterOf(account))
			want := []string{letterOf(account)}
			if name == "send_binary" {
				want = []string{shown(binary), shown(binary)}
			}
			s.wantMail(t, account, want...)
		})
	}
}

// Net::POP3 asks for LAST.
func TestPerlFetches(t *testing.T) {
	t.Parallel()
	needPerl(t)
	s := serve(t)
	account, letters := s.stock(t, "alice")
	s.perl(t, "fetch", account, letters[1])
	s.wantMail(t, account, letters[1], letters[2])
}
