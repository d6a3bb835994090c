package popd

import (
	"bytes"
	"crypto/tls"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postrider/internal/store"
)

// clientRig is a server for foreign clients, with a maildrop of three.
func clientRig(t *testing.T, program string) (r *rig, path, port string) {
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	r = newRig(t)
	r.addUser(alice, "secret")
	for _, body := range []string{
		"Subject: one\r\n\r\n",
		"Subject: two\r\n\r\n.dot\r\n..\r\nend\r\n",
		"Subject: three\r\n\r\nlast\r\n",
	} {
		_ = r.store.deliver(alice, body)
	}
	o := defaults()
	o.tls = &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	r.start(o)
	_, port, _ = net.SplitHostPort(r.address)
	return r, path, port
}

func TestPoplib(t *testing.T) {
	_, python, port := clientRig(t, "python3")
	cmd := exec.CommandContext(t.Context(), python, "testdata/fetch.py", port, alice, "secret")
	out, err := cmd.CombinedOutput()
	if err != nil || string(bytes.TrimSpace(out)) != "done" {
		t.Errorf("got %s, %v", out, err)
	}
}

func TestCurl(t *testing.T) {
	_, curl, port := clientRig(t, "curl")
	url := "pop3://127.0.0.1:" + port + "/"
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"list", []string{url}, "1 16\r\n2 31\r\n3 24\r\n"},
		{"APOP", []string{"--login-options", "AUTH=+APOP", url + "2"},
			"Subject: two\r\n\r\n.dot\r\n..\r\nend\r\n"},
		{"PLAIN", []string{"--login-options", "AUTH=PLAIN", url + "1"}, "Subject: one\r\n\r\n"},
		{"initial response", []string{"--sasl-ir", url + "3"}, "Subject: three\r\n\r\nlast\r\n"},
		{"STLS", []string{"--ssl-reqd", "-k", url + "1"}, "Subject: one\r\n\r\n"},
		{"UIDL", []string{"-X", "UIDL", url},
			"1 00000000000z9\r\n2 00000000000za\r\n3 00000000000zb\r\n"},
		{"TOP", []string{"-X", "TOP 2 1", url}, "Subject: two\r\n\r\n.dot\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"-s", "-S", "-m", "10", "-u", alice + ":secret"}, tc.args...)
			out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
			if err != nil || string(out) != tc.want {
				t.Errorf("got %q, %v\nwant %q", out, err, tc.want)
			}
		})
	}
}

// fetched runs a fetching program that delivers to a file, and checks that
// the three messages are there in order.
func fetched(t *testing.T, r *rig, mbox string, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	text, err := os.ReadFile(mbox)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if s, ok := strings.CutPrefix(line, "Subject: "); ok {
			got = append(got, strings.TrimSpace(s))
		}
	}
	if want := []string{"one", "two", "three"}; !slices.Equal(got, want) {
		t.Errorf("%v: got %q, want %q", cmd.Args, got, want)
	}
	if left, _ := r.store.Entries(t.Context(), 1, store.Inbox, 0, 10); len(left) != 0 {
		t.Errorf("%v: %d messages are left", cmd.Args, len(left))
	}
}

func TestFetchmail(t *testing.T) {
	for _, options := range []string{
		"protocol POP3 sslproto ''",
		"protocol APOP sslproto ''",
		"protocol POP3 sslproto 'TLS1.2+' no sslcertck",
	} {
		t.Run(options, func(t *testing.T) {
			r, fetchmail, port := clientRig(t, "fetchmail")
			dir := t.TempDir()
			mbox, rc := filepath.Join(dir, "mbox"), filepath.Join(dir, "rc")
			protocol, tlsOptions, _ := strings.Cut(options, " sslproto")
			config := "poll 127.0.0.1 " + protocol + " port " + port + " uidl user '" + alice +
				"' password secret sslproto" + tlsOptions + " mda 'cat >>" + mbox + "'\n"
			if err := os.WriteFile(rc, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), fetchmail, "-f", rc, "--nosyslog", "-t", "10")
			cmd.Env = append(os.Environ(), "FETCHMAILHOME="+dir, "HOME="+dir)
			fetched(t, r, mbox, cmd)
		})
	}
}

func TestMpop(t *testing.T) {
	for _, options := range [][]string{
		{"--auth=user", "--tls=off"},
		{"--auth=apop", "--tls=off"},
		{"--auth=plain", "--tls=off", "--pipelining=on"},
		{"--auth=user", "--tls=on", "--tls-starttls=on", "--tls-certcheck=off"},
	} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			r, mpop, port := clientRig(t, "mpop")
			dir := t.TempDir()
			mbox := filepath.Join(dir, "mbox")
			args := append([]string{
				"--host=127.0.0.1", "--port=" + port, "--user=" + alice,
				"--passwordeval=echo secret", "--delivery=mbox," + mbox,
				"--uidls-file=" + filepath.Join(dir, "uidls"), "--keep=off", "--timeout=10",
				"--received-header=off",
			}, options...)
			cmd := exec.CommandContext(t.Context(), mpop, args...)
			cmd.Env = append(os.Environ(), "HOME="+dir)
			fetched(t, r, mbox, cmd)
		})
	}
}
