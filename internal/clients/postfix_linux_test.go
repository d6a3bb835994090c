package clients

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/internal/trial"
)

// postfixMain is a Postfix that sends everything to a server of ours, with TLS
// of which it verifies the certificate.
const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/state
maillog_file = DIR/log
maillog_file_prefixes = DIR
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = sender.example.net
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
relayhost = [localhost]:PORT-smtp;
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = localhost
smtp_tls_CAfile = DIR/ca.pem
smtp_tls_loglevel = 1
smtp_host_lookup = native
`

// postfixServices has no server for mail from outside.
const postfixServices = `pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// A postfix is a running Postfix of our own.
type postfix struct {
	dir string
}

// postfix starts a Postfix that sends to s. The one that may run on this
// machine is not touched.
func (s *server) postfix(t *testing.T) *postfix {
	t.Helper()
	trial.Need(t, "postfix")
	if os.Geteuid() != 0 {
		t.Skip("Postfix is started as root only")
	}
	p := &postfix{open(t)}
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.Atoi(owner.Uid)
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"queue", "state"} {
		if err := os.Mkdir(filepath.Join(p.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(p.dir, "state"), id, -1); err != nil {
		t.Fatal(err)
	}
	config := strings.ReplaceAll(s.in(t, "", "", []string{postfixMain})[0], "DIR", p.dir)
	for name, text := range map[string]string{"main.cf": config, "master.cf": postfixServices,
		"ca.pem": s.certificate(t)} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The command makes the queue; the daemon is started without it, so that
	// it is our child.
	trial.Command(t, "", "postfix", "-c", p.dir, "check").Want(t, 0)
	cmd := exec.Command("/usr/lib/postfix/sbin/master", "-c", p.dir, "-s")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("Postfix says:\n%s", p.log(t))
		}
	})
	return p
}

func (p *postfix) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// await waits until the log has something.
func (p *postfix) await(t *testing.T, pattern string) {
	t.Helper()
	want := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(trial.Patience); !want.MatchString(p.log(t)); {
		if time.Now().After(deadline) {
			t.Fatalf("Postfix does not say %q", pattern)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// send hands a message in as a program on the machine of Postfix does it.
func (p *postfix) send(t *testing.T, message, from string, to ...string) {
	t.Helper()
	args := append([]string{"sendmail", "-C", p.dir, "-i", "-f", from, "--"}, to...)
	trial.Command(t, strings.ReplaceAll(message, "\r\n", "\n"), args...).Want(t, 0)
}

// Postfix as the sender: what it makes of our extensions, codes and refusals.
func TestPostfixSends(t *testing.T) {
	t.Parallel()
	s := serve(t, "smtp.max_size=64K")
	p := s.postfix(t)
	account := s.account(t, "alice")
	utf8 := strings.NewReplacer("A. Writer", "Jürgen", "a letter", "Grüße").Replace(letter)
	p.send(t, letter, "sender@example.net", account, "nobody@localhost")
	p.await(t, `to=<alice@localhost>.* dsn=2\.0\.0, status=sent \(250 2\.0\.0 `)
	p.await(t, `to=<nobody@localhost>.* dsn=5\.1\.1, status=bounced .*said: 550 5\.1\.1 `)
	p.await(t, `Verified TLS connection established to localhost.*: TLSv1\.3 `)
	p.send(t, utf8, "jürgen@example.net", account)
	p.await(t, `from=<jürgen@example\.net>`)
	p.await(t, `(?s)(to=<alice@localhost>.* status=sent.*){2}`)
	p.send(t, letter, "sender@example.net", "a@example.com")
	p.await(t, `to=<a@example\.com>.* dsn=5\.7\.1, status=bounced `)
	p.send(t, letter+strings.Repeat(long+"\r\n", 100), "sender@example.net", account)
	p.await(t, `to=<alice@localhost>.* status=bounced .*exceeds size limit 65536 of server`)

	got := s.mailbox(t, account) // Postfix puts its own Received line in front
	if len(got) != 2 {
		t.Fatalf("%d messages arrived", len(got))
	}
	for i, want := range []string{letter, utf8} {
		if !strings.HasSuffix(got[i], "\r\n"+want) {
			t.Error(difference(original(t, got[i]), want))
		}
	}
	head := added.FindString(got[1])
	for _, want := range []string{"Return-Path: <jürgen@example.net>\r\n", " with UTF8SMTPS id "} {
		if !strings.Contains(head, want) {
			t.Errorf("%q\nlacks %q", head, want)
		}
	}
}
