package clients

import (
	"fmt"
	"strings"
	"testing"

	"postrider/internal/trial"
)

// A sending is one client's way to hand in the letter.
type sending struct {
	name     string
	program  string
	args     []string
	received string // what the Received line says of it
}

// in replaces the names of ports, of the account and of files in arguments.
// CHOPPED is the message without its last line end: swaks always adds one.
func (s *server) in(t *testing.T, account, message string, args []string) []string {
	list := []string{"SOCKET", s.socket(), "ACCOUNT", account, "PASSWORD", password,
		"MESSAGE", file(t, "m", message),
		"CHOPPED", file(t, "m", strings.TrimSuffix(message, "\r\n"))}
	for _, l := range s.Listeners {
		host, port, ok := strings.Cut(l.Address, ":")
		if ok && host == "127.0.0.1" {
			list = append(list, "PORT-"+l.Service+";", port)
		}
	}
	r := strings.NewReplacer(list...)
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = r.Replace(a)
	}
	return out
}

var swaks = []string{
	"--server", "127.0.0.1", "--ehlo", "client.example.net", "--from", "sender@example.net",
	"--to", "ACCOUNT", "--data", "@CHOPPED", "--suppress-data", "--timeout", "20",
}

// submit is swaks as a user of submission.
var submit = []string{
	"--server", "127.0.0.1", "--ehlo", "client.example.net", "--from", "ACCOUNT",
	"--to", "ACCOUNT", "--data", "@CHOPPED", "--suppress-data", "--timeout", "20",
	"--auth-user", "ACCOUNT", "--auth-password", "PASSWORD",
}

var curlSend = []string{
	"-sS", "-k", "--max-time", "20", "--mail-rcpt", "ACCOUNT", "--upload-file", "MESSAGE",
}

func with(args []string, more ...string) []string {
	return append(args[:len(args):len(args)], more...)
}

var sendings = []sending{
	{"swaks", "swaks", with(swaks, "--port", "PORT-smtp;"), "with ESMTP"},
	{"swaks HELO", "swaks", with(swaks, "--port", "PORT-smtp;", "--protocol", "SMTP"), "with SMTP"},
	{"swaks pipelining", "swaks", with(swaks, "--port", "PORT-smtp;", "--pipeline"), "with ESMTP"},
	{"swaks STARTTLS", "swaks", with(swaks, "--port", "PORT-smtp;", "--tls"), "with ESMTPS"},
	{"swaks STARTTLS 1.2", "swaks", with(swaks, "--port", "PORT-smtp;", "--tls",
		"--tls-protocol", "tlsv1_2"), "with ESMTPS"},
	{"swaks AUTH PLAIN", "swaks", with(submit, "--port", "PORT-submission;", "--auth", "PLAIN"),
		"with ESMTPA"},
	{"swaks AUTH LOGIN", "swaks", with(submit, "--port", "PORT-submission;", "--auth", "LOGIN",
		"--tls"), "with ESMTPSA"},
	{"swaks TLS", "swaks", with(submit, "--port", "PORT-submissions;", "--auth", "PLAIN",
		"--tls-on-connect"), "with ESMTPSA"},
	{"swaks LMTP", "swaks", with(swaks, "--port", "PORT-lmtp;", "--protocol", "LMTP"), "with LMTP"},
	{"swaks LMTP Unix", "swaks", with(swaks[2:], "--socket", "SOCKET", "--protocol", "LMTP"),
		"with LMTP"},
	{"curl", "curl", with(curlSend, "--mail-from", "sender@example.net",
		"smtp://127.0.0.1:PORT-smtp;/client.example.net"), "with ESMTP"},
	{"curl STARTTLS", "curl", with(curlSend, "--mail-from", "ACCOUNT", "--ssl-reqd",
		"--user", "ACCOUNT:PASSWORD", "smtp://127.0.0.1:PORT-submission;/client.example.net"),
		"with ESMTPSA"},
	{"curl LOGIN", "curl", with(curlSend, "--mail-from", "ACCOUNT", "--ssl-reqd",
		"--login-options", "AUTH=LOGIN", "--user", "ACCOUNT:PASSWORD",
		"smtp://127.0.0.1:PORT-submission;/client.example.net"), "with ESMTPSA"},
	{"curl smtps", "curl", with(curlSend, "--mail-from", "ACCOUNT", "--user", "ACCOUNT:PASSWORD",
		"smtps://127.0.0.1:PORT-submissions;/client.example.net"), "with ESMTPSA"},
}

// What a client sends is what the recipient finds.
func TestSending(t *testing.T) {
	s := serve(t)
	for i, tc := range sendings {
		account := s.account(t, "sending"+string(rune('a'+i)))
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			trial.Need(t, tc.program)
			message := letterOf(account)
			args := s.in(t, account, message, tc.args)
			trial.Command(t, "", with([]string{tc.program}, args...)...).Want(t, 0)
			s.wantMail(t, account, message)
			head := added.FindString(s.mailbox(t, account)[0])
			if !strings.Contains(head, tc.received+" ") && !strings.Contains(head, tc.received+"\r\n") {
				t.Errorf("%q\nlacks %q", head, tc.received)
			}
		})
	}
}

// One bad recipient does not harm the others, with and without pipelining.
func TestSwaksRecipients(t *testing.T) {
	t.Parallel()
	trial.Need(t, "swaks")
	s := serve(t)
	for i, tc := range []struct {
		name string
		args []string
		lmtp bool
	}{
		{"one by one", []string{"--port", "PORT-smtp;"}, false},
		{"pipelining", []string{"--port", "PORT-smtp;", "--pipeline"}, false},
		{"LMTP", []string{"--port", "PORT-lmtp;", "--protocol", "LMTP"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			one, two := s.account(t, fmt.Sprint("one", i)), s.account(t, fmt.Sprint("two", i))
			args := s.in(t, one+",nobody@localhost,"+two+",a@example.com", letter,
				append([]string{"swaks"}, with(swaks, tc.args...)...))
			r := trial.Command(t, "", args...).Want(t, 0)
			for _, want := range []string{"** 550 5.1.1 ", "** 55"} {
				if !strings.Contains(r.Stdout, want) {
					t.Errorf("%s\nlacks %q", r.Stdout, want)
				}
			}
			s.wantMail(t, one, letter)
			s.wantMail(t, two, letter)
		})
	}
}

// What swaks says when everything is refused, with its own exit statuses.
func TestSwaksRefused(t *testing.T) {
	t.Parallel()
	trial.Need(t, "swaks")
	s := serve(t)
	account := s.account(t, "alice")
	s.account(t, "disabled")
	postrider(t, s.dir, "account", "disable", "disabled").Want(t, 0)
	for _, tc := range []struct {
		name   string
		args   []string
		status int
		text   string
	}{
		{"unknown recipient", []string{"--port", "PORT-smtp;", "--to", "nobody@localhost"}, 24,
			"550 5.1.1"},
		{"disabled recipient", []string{"--port", "PORT-smtp;", "--to", "disabled@localhost"}, 24,
			"550 5."},
		{"relay", []string{"--port", "PORT-smtp;", "--to", "a@example.com"}, 24, "550 5.7.1"},
		{"percent relay", []string{"--port", "PORT-smtp;", "--to", "a%example.com@localhost"}, 24,
			"550 5."},
		{"no login", []string{"--port", "PORT-submission;"}, 23, "530 5.7.0"},
		{"wrong password", []string{"--port", "PORT-submission;", "--auth", "PLAIN", "--auth-user",
			account, "--auth-password", "wrong"}, 28, "535 5.7.8"},
		{"disabled login", []string{"--port", "PORT-submission;", "--auth", "PLAIN", "--auth-user",
			"disabled", "--auth-password", password}, 28, "535 5.7.8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := s.in(t, account, letter, append([]string{"swaks"}, with(swaks, tc.args...)...))
			r := trial.Command(t, "", args...).Want(t, tc.status)
			if !strings.Contains(r.Stdout, "** "+tc.text) {
				t.Errorf("%s\nlacks %q", r.Stdout, tc.text)
			}
		})
	}
	s.wantMail(t, account)
}
