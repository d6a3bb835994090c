package clients

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/internal/trial"
)

// A relay is a Dovecot that hands on to a server of ours, as one of its
// users, what its own users submit to it.
type relay struct {
	address string // for submission without TLS, as alice with the password
	rawlog  string // a directory with all that it says to us
}

const relayConfig = `base_dir = DIR/run
state_dir = DIR/run
protocols = submission
listen = 127.0.0.1
log_path = DIR/log
ssl = no
disable_plaintext_auth = no
hostname = relay.example.net
mail_location = maildir:DIR/mail
first_valid_uid = 1
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=DIR/mail
}
service submission-login {
  inet_listener submission {
    port = LISTEN
  }
  inet_listener submissions {
    port = 0
  }
}
submission_relay_host = localhost
submission_relay_port = PORT-submission;
submission_relay_user = ACCOUNT
submission_relay_password = PASSWORD
submission_relay_ssl = starttls
submission_relay_rawlog_dir = DIR/mail
ssl_client_ca_file = DIR/ca.pem
`

// dovecot starts a Dovecot that submits to s as an account.
func (s *server) dovecot(t *testing.T, account string) *relay {
	t.Helper()
	trial.Need(t, "dovecot")
	if _, err := os.Stat("/usr/lib/dovecot/submission"); err != nil {
		t.Skip("the submission service of Dovecot is not installed")
	}
	if os.Geteuid() != 0 {
		t.Skip("Dovecot is started as root only")
	}
	dir := open(t)
	r := &relay{address: freePort(t), rawlog: filepath.Join(dir, "mail")}
	_, port, _ := strings.Cut(r.address, ":")
	config := strings.NewReplacer("DIR", dir, "LISTEN", port).
		Replace(s.in(t, account, "", []string{relayConfig})[0])
	for name, content := range map[string]string{"ca.pem": s.certificate(t), "dovecot.conf": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(r.rawlog, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.rawlog, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dovecot", "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && t.Failed() {
			t.Logf("Dovecot says:\n%s", log)
		}
	})
	for deadline := time.Now().Add(trial.Patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", r.address)
		if err == nil {
			conn.Close()
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("Dovecot does not listen: %v", err)
		}
	}
}

// said is all that Dovecot said to us.
func (r *relay) said(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.rawlog, "*.out"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// Dovecot as the sender takes STARTTLS and AUTH, and sends by BDAT whatever
// its own client used; BINARYMIME it passes on.
func TestDovecotRelays(t *testing.T) {
	t.Parallel()
	s := serve(t)
	account := s.account(t, "alice")
	r := s.dovecot(t, account)
	c := talkTo(t, r.address)
	c.hear("220 ")
	c.say("EHLO client.example.net").hear("250 ")
	login := base64.StdEncoding.EncodeToString([]byte("\x00alice\x00secret"))
	c.say("AUTH PLAIN " + login).hear("235 ")
	if got := c.say("EHLO client.example.net").hear("250 "); !strings.Contains(got, "BINARYMIME") {
		t.Errorf("Dovecot offers %q", got)
	}
	// Dovecot makes CRLF of a bare LF, so there is none.
	own := strings.NewReplacer("sender@example.net", account, "\t\n", "\t").Replace(binary)
	c.say("MAIL FROM:<" + account + "> BODY=BINARYMIME").hear("250 2.1.0")
	c.say("RCPT TO:<nobody@localhost>").hear("550 5.1.1")
	c.say("RCPT TO:<" + account + ">").hear("250 2.1.5")
	fmt.Fprintf(c, "BDAT %d LAST\r\n%s", len(own), own)
	c.hear("250 2.0.0")
	c.say("MAIL FROM:<" + account + "> BODY=8BITMIME").hear("250 2.1.0")
	c.say("RCPT TO:<" + account + ">").hear("250 2.1.5")
	c.say("DATA").hear("354 ")
	c.say(stuffed(letterOf(account)) + ".").hear("250 2.0.0")
	c.say("QUIT").hear("221 ")
	c.end()

	// Dovecot puts its own Received line in front.
	got := s.mailbox(t, account)
	if len(got) != 2 {
		t.Fatalf("%d messages arrived", len(got))
	}
	for i, want := range []string{shown(own), letterOf(account)} {
		if !strings.HasSuffix(got[i], "\r\n"+want) {
			t.Error(difference(original(t, got[i]), want))
		}
	}
	said := r.said(t)
	for what, times := range map[string]int{" STARTTLS\r\n": 1, " AUTH PLAIN ": 1,
		" BODY=BINARYMIME\r\n": 1, " BODY=8BITMIME\r\n": 1, " DATA\r\n": 0} {
		if got := strings.Count(said, what); got != times {
			t.Errorf("Dovecot said %q %d times, want %d", what, got, times)
		}
	}
	if got := strings.Count(said, "BDAT "); got < 2 {
		t.Errorf("Dovecot said BDAT %d times", got)
	}
}
