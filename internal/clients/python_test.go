package clients

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"path/filepath"
	"testing"

	"postrider/internal/trial"
)

// where is a file that tells the programs in testdata, as JSON, where the
// server is, who the user is, and what else they need.
func (s *server) where(t *testing.T, account, letter string, more map[string]any) string {
	t.Helper()
	ports := map[string]string{}
	for _, service := range []string{"smtp", "submission", "submissions", "lmtp", "pop", "pops"} {
		ports[service] = s.port(t, service)
	}
	where := map[string]any{"user": account, "password": password, "letter": letter,
		"certificate": filepath.Join(s.dir, "tls.pem"), "socket": s.socket(), "ports": ports,
		"binary": hex.EncodeToString([]byte(binary))}
	maps.Copy(where, more)
	text, err := json.Marshal(where)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "where.json", string(text))
}

// python runs a function of testdata/mail.py for an account.
func (s *server) python(t *testing.T, name, account, letter string) {
	t.Helper()
	trial.Need(t, "python3")
	where := s.where(t, account, letter, nil)
	trial.Command(t, "", "python3", "testdata/mail.py", name, where).Want(t, 0)
}

// The functions of mail.py that send, and how many letters they leave.
func TestPythonSends(t *testing.T) {
	trial.Need(t, "python3")
	s := serve(t)
	for _, tc := range []struct {
		name    string
		letters int
	}{
		{"send", 1}, {"send_starttls", 1}, {"send_ssl", 1}, {"send_lmtp", 1},
		{"send_lmtp_socket", 1}, {"send_twice", 2}, {"refusals", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			account := s.account(t, tc.name)
			s.python(t, tc.name, account, letterOf(account))
			want := []string{letterOf(account), letterOf(account)}
			s.wantMail(t, account, want[:tc.letters]...)
		})
	}
}

func TestPythonFetches(t *testing.T) {
	t.Parallel()
	trial.Need(t, "python3")
	s := serve(t)
	account := s.account(t, "alice", "--apop", "allowed")
	for _, name := range []string{"one", "two", "three"} {
		s.send(t, account, numbered(name))
	}
	s.python(t, "fetch", account, numbered("two"))
	s.wantMail(t, account, numbered("two"), numbered("three"))
}

func TestPythonUTF8(t *testing.T) {
	t.Parallel()
	trial.Need(t, "python3")
	s := serve(t)
	account := s.account(t, "alice")
	s.python(t, "send_utf8", account, "")
	s.python(t, "fetch_utf8", account, "")
}

func TestPythonLarge(t *testing.T) {
	t.Parallel()
	trial.Need(t, "python3")
	s := serve(t)
	account := s.account(t, "alice")
	s.python(t, "send_large", account, "")
	s.python(t, "fetch_large", account, "")
	s.wantMail(t, account)
}

// libESMTP sends chunks, many ahead of their replies.
func TestLibESMTP(t *testing.T) {
	trial.Need(t, "python3")
	try := "import ctypes; ctypes.CDLL('libesmtp.so.6')"
	if trial.Command(t, "", "python3", "-c", try).Status != 0 {
		t.Skip("libesmtp is not installed")
	}
	s := serve(t)
	for _, tc := range []struct {
		name string
		mail []string
	}{
		{"send_binary", []string{shown(binary), shown(binary)}}, {"send_8bit", []string{letter}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			account := s.account(t, tc.name)
			trial.Command(t, "", "python3", "testdata/esmtp.py", tc.name,
				s.where(t, account, letter, nil)).Want(t, 0)
			s.wantMail(t, account, tc.mail...)
		})
	}
}
