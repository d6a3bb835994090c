package smtpd

import (
	"context"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postrider/internal/golden"
)

// pythonSend sends by smtplib: host, port, then "tls" or "-", then user and
// password or "-".
const pythonSend = `
import smtplib, ssl, sys
host, port, tls, user = sys.argv[1:5]
c = smtplib.SMTP(host, int(port), local_hostname="client.example.net")
if tls == "tls":
    c.starttls(context=ssl._create_unverified_context())
if user != "-":
    c.login(user, sys.argv[5])
c.sendmail("alice@example.org", ["bob@example.net", "carol@example.net"],
    "Subject: x\r\n\r\n.dot\r\n")
c.quit()
`

// Clients that are installed get their mail through.
func TestRealClients(t *testing.T) {
	submission := golden.Setup{{Key: "mode", Value: "submission"}, {Key: "tls", Value: "starttls"}}
	implicit := golden.Setup{{Key: "mode", Value: "submission"}, {Key: "tls", Value: "implicit"}}
	lmtp := golden.Setup{{Key: "mode", Value: "lmtp"}, {Key: "auth", Value: "none"}}
	curl := []string{
		"curl", "-sS", "-k", "--mail-from", "alice@example.org", "--mail-rcpt", "bob@example.net",
		"--mail-rcpt", "carol@example.net", "--upload-file", "-",
	}
	swaks := []string{
		"swaks", "--server", "HOST", "--port", "PORT", "--ehlo", "client.example.net", "--from",
		"alice@example.org", "--to", "bob@example.net,carol@example.net", "--data", "-",
	}
	python := []string{"python3", "-c", pythonSend, "HOST", "PORT"}
	with := func(a []string, b ...string) []string { return append(a[:len(a):len(a)], b...) }
	tests := []struct {
		name    string
		setup   golden.Setup
		command []string
		want    string // with, and user
	}{
		{"curl", nil, with(curl, "smtp://HOST:PORT/client.example.net"), "ESMTP"},
		{"curl STARTTLS", submission, with(curl, "--ssl-reqd", "--user", "alice:secret",
			"--login-options", "AUTH=PLAIN", "smtp://HOST:PORT/client.example.net"), "ESMTPSA"},
		{"curl LOGIN", submission, with(curl, "--ssl-reqd", "--user", "alice:secret",
			"--login-options", "AUTH=LOGIN", "smtp://HOST:PORT/client.example.net"), "ESMTPSA"},
		{"curl TLS", implicit, with(curl, "--user", "alice:secret",
			"--login-options", "AUTH=PLAIN", "smtps://HOST:PORT/client.example.net"), "ESMTPSA"},
		{"swaks", nil, swaks, "ESMTP"},
		{"swaks pipelining", nil, with(swaks, "--pipeline"), "ESMTP"},
		{"swaks HELO", nil, with(swaks, "--protocol", "SMTP"), "SMTP"},
		{"swaks STARTTLS", submission, with(swaks, "--tls", "--auth", "PLAIN", "--auth-user", "alice",
			"--auth-password", "secret"), "ESMTPSA"},
		{"swaks TLS", implicit, with(swaks, "--tls-on-connect", "--auth", "LOGIN", "--auth-user",
			"alice", "--auth-password", "secret"), "ESMTPSA"},
		{"swaks LMTP", lmtp, with(swaks, "--protocol", "LMTP"), "LMTP"},
		{"smtplib", nil, with(python, "-", "-"), "ESMTP"},
		{"smtplib STARTTLS", submission, with(python, "tls", "alice", "secret"), "ESMTPSA"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := exec.LookPath(tt.command[0]); err != nil {
				t.Skip(err)
			}
			t.Parallel()
			b := newBench(t, tt.setup)
			runClient(t, b.start(t), tt.command)
			m := b.hall.last()
			if m == nil {
				t.Fatal("no message was accepted")
			}
			want := tt.want + " client.example.net alice@example.org"
			if strings.HasSuffix(tt.want, "A") {
				want += " user=alice@example.org"
			}
			want += " >bob@example.net >carol@example.net"
			if got := m.String(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if got := m.body.String(); !strings.HasPrefix(got, "Subject: x\r\n\r\n.dot\r\n") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func runClient(t *testing.T, addr string, command []string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	args := make([]string, len(command))
	for i, a := range command {
		args[i] = strings.ReplaceAll(strings.ReplaceAll(a, "HOST", host), "PORT", port)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader("Subject: x\r\n\r\n.dot\r\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", args[0], err, out)
	}
}
