package clients

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"postrider/internal/trial"
)

func TestMsmtp(t *testing.T) {
	trial.Need(t, "msmtp")
	s := serve(t, "auth.scram_sha1=yes")
	for i, options := range [][]string{
		{"--port=PORT-smtp;", "--tls=off", "--auth=off"},
		{"--port=PORT-smtp;", "--tls=on", "--tls-starttls=on", "--auth=off"},
		{"--port=PORT-submission;", "--tls=off", "--auth=plain"},
		{"--port=PORT-submission;", "--tls=on", "--tls-starttls=on", "--auth=login"},
		{"--port=PORT-submission;", "--tls=off", "--auth=scram-sha-256"},
		{"--port=PORT-submissions;", "--tls=on", "--tls-starttls=off", "--auth=scram-sha-256"},
		{"--port=PORT-submission;", "--tls=on", "--tls-starttls=on", "--auth=scram-sha-1"},
		{"--port=PORT-submission;", "--tls=on", "--tls-starttls=on", "--auth=on"},
		{"--port=PORT-lmtp;", "--protocol=lmtp", "--tls=off", "--auth=off"},
	} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			t.Parallel()
			account := s.account(t, fmt.Sprint("msmtp", i))
			letter := letterOf(account)
			args := append([]string{"msmtp", "--host=localhost", "--domain=client.example.net",
				"--user=" + account, "--passwordeval=echo " + password, "--from=" + account,
				"--tls-trust-file=" + filepath.Join(s.dir, "tls.pem"), "--timeout=20"}, options...)
			args = s.in(t, account, "", append(args, "--", account))
			// msmtp wants the line ends of the system.
			trial.Command(t, strings.ReplaceAll(letter, "\r\n", "\n"), args...).Want(t, 0)
			s.wantMail(t, account, letter)
		})
	}
}

// The exit statuses that msmtp has for refusals are those of sysexits.
func TestMsmtpRefused(t *testing.T) {
	t.Parallel()
	trial.Need(t, "msmtp")
	s := serve(t, "smtp.max_size=64K")
	account := s.account(t, "alice")
	for _, tc := range []struct {
		name   string
		status int
		text   string
		letter string
		args   []string
	}{
		{"unknown recipient", 65, "550 5.1.1", letter, []string{"--auth=off", "--port=PORT-smtp;",
			"--from=sender@example.net", "nobody@localhost"}},
		{"relay", 65, "5.7.1", letter, []string{"--auth=off", "--port=PORT-smtp;",
			"--from=sender@example.net", "somebody@example.com"}},
		{"wrong password", 77, "535 5.7.8", letter, []string{"--auth=plain", "--user=ACCOUNT",
			"--passwordeval=echo wrong", "--port=PORT-submission;", "--from=ACCOUNT", "ACCOUNT"}},
		{"no login", 65, "530 5.7.0", letter, []string{"--auth=off", "--port=PORT-submission;",
			"--from=ACCOUNT", "ACCOUNT"}},
		{"too large", 69, "552 5.3.4", letter + strings.Repeat(long+"\r\n", 100),
			[]string{"--auth=off", "--port=PORT-smtp;", "--from=sender@example.net", "ACCOUNT"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"msmtp", "--host=127.0.0.1", "--tls=off", "--timeout=20"},
				s.in(t, account, "", tc.args)...)
			r := trial.Command(t, strings.ReplaceAll(tc.letter, "\r\n", "\n"), args...).Want(t, tc.status)
			if !strings.Contains(r.Stderr, tc.text) {
				t.Errorf("%v\nlacks %q", r, tc.text)
			}
		})
	}
	s.wantMail(t, account)
}
