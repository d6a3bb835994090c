package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postrider/internal/trial"
)

// stock makes an account with three letters, and gives them as they are sent.
func (s *server) stock(t *testing.T, name string) (account string, letters []string) {
	t.Helper()
	account = s.account(t, name, "--apop", "allowed")
	for _, subject := range []string{"one", "two", "three"} {
		letters = append(letters, numbered(subject))
		s.send(t, account, letters[len(letters)-1])
	}
	return account, letters
}

func TestCurlFetches(t *testing.T) {
	t.Parallel()
	trial.Need(t, "curl")
	s := serve(t)
	account, letters := s.stock(t, "alice")
	stored := s.mailbox(t, account)
	pop, pops := "pop3://localhost:"+s.port(t, "pop")+"/", "pop3s://localhost:"+s.port(t, "pops")+"/"
	var list strings.Builder
	for i, m := range stored {
		fmt.Fprintf(&list, "%d %d\r\n", i+1, len(m))
	}
	head, _, _ := strings.Cut(stored[1], "\r\n\r\n")
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"list", []string{pop}, list.String()},
		{"retrieve", []string{pop + "1"}, stored[0]},
		{"APOP", []string{"--login-options", "AUTH=+APOP", pop + "2"}, stored[1]},
		{"PLAIN", []string{"--login-options", "AUTH=PLAIN", pop + "3"}, stored[2]},
		{"initial response", []string{"--sasl-ir", pop + "1"}, stored[0]},
		{"LOGIN", []string{"--login-options", "AUTH=LOGIN", pop + "1"}, stored[0]},
		{"STLS", []string{"--ssl-reqd", pop + "2"}, stored[1]},
		{"pop3s", []string{pops + "3"}, stored[2]},
		{"TLS 1.2", []string{"--tls-max", "1.2", pops + "3"}, stored[2]},
		{"TOP", []string{"-X", "TOP 2 0", pop}, head + "\r\n\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := []string{"curl", "-sS", "--max-time", "20", "--cacert",
				filepath.Join(s.dir, "tls.pem"), "--user", account + ":" + password}
			got := trial.Command(t, "", append(args, tc.args...)...).Want(t, 0).Stdout
			if got != tc.want {
				t.Error(difference(got, tc.want))
			}
		})
	}
	t.Run("delete", func(t *testing.T) {
		trial.Command(t, "", "curl", "-sS", "-I", "-X", "DELE 2", "--user", account+":"+password, pop).
			Want(t, 0)
		s.wantMail(t, account, letters[0], letters[2])
	})
	t.Run("wrong password", func(t *testing.T) {
		trial.Command(t, "", "curl", "-sS", "--user", account+":wrong", pop).Want(t, 67)
	})
}

// UIDLs are the same for ever: also after a restart and when others are gone.
func TestUIDLsStay(t *testing.T) {
	t.Parallel()
	trial.Need(t, "curl")
	s := serve(t)
	account, _ := s.stock(t, "alice")
	uidl := func(s *server) string {
		t.Helper()
		return trial.Command(t, "", "curl", "-sS", "-X", "UIDL", "--user", account+":"+password,
			"pop3://127.0.0.1:"+s.port(t, "pop")+"/").Want(t, 0).Stdout
	}
	before := uidl(s)
	form := regexp.MustCompile(`^1 (\S{1,70})\r\n2 (\S{1,70})\r\n3 (\S{1,70})\r\n$`)
	if !form.MatchString(before) {
		t.Fatalf("UIDL: %q", before)
	}
	trial.Command(t, "", "curl", "-sS", "-I", "-X", "DELE 1", "--user", account+":"+password,
		"pop3://127.0.0.1:"+s.port(t, "pop")+"/").Want(t, 0)
	s.stop()
	again := serveIn(t, s.dir, everyDoor...)
	want := strings.NewReplacer("2 ", "1 ", "3 ", "2 ").Replace(
		strings.SplitAfterN(before, "\r\n", 2)[1])
	if after := uidl(again); after != want {
		t.Errorf("UIDL after a restart: got %q, want %q", after, want)
	}
}

func TestFetchmail(t *testing.T) {
	trial.Need(t, "fetchmail")
	s := serve(t)
	for i, tc := range []struct {
		protocol string // with PORT-pop; or PORT-pops;
		options  string
		keep     bool
	}{
		{"protocol POP3 port PORT-pop;", "sslproto ''", false},
		{"protocol POP3 port PORT-pop; uidl", "sslproto '' keep", true},
		{"protocol APOP port PORT-pop;", "sslproto '' keep", true},
		{"protocol POP3 port PORT-pop; uidl", "sslproto 'TLS1.3+' no sslcertck fetchall", false},
		{"protocol POP3 port PORT-pops; uidl", "ssl no sslcertck keep", true},
	} {
		t.Run(tc.protocol+" "+tc.options, func(t *testing.T) {
			t.Parallel()
			account, letters := s.stock(t, fmt.Sprint("fetchmail", i))
			dir := t.TempDir()
			mbox := filepath.Join(dir, "mbox")
			rc := s.in(t, account, "", []string{"poll 127.0.0.1 " + tc.protocol + " user ACCOUNT " +
				"password 'PASSWORD' " + tc.options + " mda 'cat >>" + mbox + "'\n"})[0]
			fetchmail(t, dir, rc).Want(t, 0)
			wantCopies(t, mbox, letters)
			fetchmail(t, dir, rc).Want(t, 1) // nothing new
			wantCopies(t, mbox, letters)
			if !tc.keep {
				letters = nil
			}
			s.wantMail(t, account, letters...)
		})
	}
}

// What fetchmail takes from one account it hands to another here.
func TestFetchmailForwards(t *testing.T) {
	t.Parallel()
	trial.Need(t, "fetchmail")
	s := serve(t)
	for i, how := range []string{
		"smtphost 127.0.0.1/PORT-smtp;", "lmtp smtphost 127.0.0.1/PORT-lmtp;",
	} {
		t.Run(how, func(t *testing.T) {
			from, letters := s.stock(t, fmt.Sprint("from", i))
			to := s.account(t, fmt.Sprint("to", i))
			rc := s.in(t, from, "", []string{"set invisible\npoll 127.0.0.1 protocol POP3 " +
				"port PORT-pop; no envelope user ACCOUNT password 'PASSWORD' sslproto '' norewrite " +
				how + " smtpname " + to + "\n"})[0]
			fetchmail(t, t.TempDir(), rc).Want(t, 0)
			s.wantMail(t, from)
			got := s.mailbox(t, to)
			if len(got) != len(letters) {
				t.Fatalf("%d messages arrived: %q", len(got), got)
			}
			for i, m := range got {
				if !strings.HasSuffix(m, letters[i]) {
					t.Errorf("message %d: got %q", i+1, m)
				}
			}
		})
	}
}

// fetchmail without UIDL, and mutt, know by LAST what they have read.
func TestLast(t *testing.T) {
	s := serve(t)
	for name, fetch := range map[string]func(t *testing.T, dir, account string) (trace string){
		"fetchmail": func(t *testing.T, dir, account string) string {
			rc := s.in(t, account, "", []string{"poll 127.0.0.1 protocol POP3 port PORT-pop; user " +
				"ACCOUNT password 'PASSWORD' sslproto '' keep mda 'cat >>" + dir + "/mbox'\n"})[0]
			return fetchmail(t, dir, rc, "-v", "-v").Stdout
		},
		"mutt": s.mutt,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trial.Need(t, name)
			account, letters := s.stock(t, name)
			dir := t.TempDir()
			for i, asked := range []string{"RETR 3", ""} { // the second time nothing is new
				trace := fetch(t, dir, account)
				if !strings.Contains(trace, "> LAST") || !strings.Contains(trace, "> "+asked) ||
					i == 1 && strings.Contains(trace, "> RETR") {
					t.Errorf("session %d: %s", i+1, trace)
				}
				wantCopies(t, filepath.Join(dir, "mbox"), letters)
			}
			s.wantMail(t, account, letters...)
		})
	}
}

// ofMutt are header fields that mutt adds to what it saves.
var ofMutt = regexp.MustCompile(`(?m)^(?:Content-Length|Lines|Status): .*\n`)

// mutt fetches all that is new into dir/mbox, and gives what it noted down.
func (s *server) mutt(t *testing.T, dir, account string) string {
	t.Helper()
	trial.Need(t, "script") // mutt wants a terminal
	rc := s.in(t, account, "", []string{"set pop_host='pops://localhost:PORT-pops;' " +
		"pop_user='ACCOUNT' pop_pass='PASSWORD' pop_authenticators='scram-sha-256'\n" +
		"set pop_last=yes pop_delete=no certificate_file='" + filepath.Join(s.dir, "tls.pem") + "'\n" +
		"set spoolfile='" + dir + "/mbox' folder='" + dir + "' mbox_type=mmdf move=no quit=yes\n" +
		"push <fetch-mail><quit>\n"})[0]
	mbox := filepath.Join(dir, "mbox")
	before, _ := os.ReadFile(mbox)
	if err := os.WriteFile(mbox, before, 0o600); err != nil { // it wants one to be there
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "script", "-qec", "mutt -n -d 3 -F "+
		file(t, "muttrc", rc), "/dev/null")
	cmd.Env = append(os.Environ(), "HOME="+dir, "TERM=xterm")
	trial.Run(t, cmd).Want(t, 0)
	text, err := os.ReadFile(mbox)
	if err == nil {
		text = ofMutt.ReplaceAll(text, nil)
		err = os.WriteFile(mbox, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	trace, err := os.ReadFile(filepath.Join(dir, ".muttdebug0"))
	if err != nil {
		t.Fatal(err)
	}
	return string(trace)
}

func fetchmail(t *testing.T, dir, rc string, flags ...string) *trial.Result {
	t.Helper()
	path := filepath.Join(dir, "rc")
	if err := os.WriteFile(path, []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-f", path, "--nosyslog", "-t", "20", "--pidfile",
		filepath.Join(dir, "pid")}, flags...)
	cmd := exec.CommandContext(t.Context(), "fetchmail", args...)
	cmd.Env = append(os.Environ(), "FETCHMAILHOME="+dir, "HOME="+dir)
	return trial.Run(t, cmd)
}

// wantCopies fails the test unless a file holds the letters, each once and in
// this order, with the line ends of the system and whatever headers the
// program puts in front.
func wantCopies(t *testing.T, path string, letters []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rest := strings.ReplaceAll(string(text), "\r\n", "\n")
	if got := strings.Count(rest, "\nMessage-ID: <letter@"); got != len(letters) {
		t.Errorf("%d letters in the file, want %d", got, len(letters))
	}
	for i, l := range letters {
		_, after, ok := strings.Cut(rest, strings.ReplaceAll(l, "\r\n", "\n"))
		if !ok {
			t.Fatalf("letter %d is not in what is left:\n%q", i+1, rest)
		}
		rest = after
	}
}

func TestMpop(t *testing.T) {
	trial.Need(t, "mpop")
	s := serve(t, "auth.scram_sha1=yes")
	for i, options := range [][]string{
		{"--auth=user", "--tls=off", "--keep=off"},
		{"--auth=user", "--tls=off", "--pipelining=on", "--keep=on"},
		{"--auth=apop", "--tls=off", "--keep=off"},
		{"--auth=plain", "--tls=on", "--tls-starttls=on", "--keep=on"},
		{"--auth=login", "--tls=on", "--tls-starttls=on", "--keep=off"},
		{"--auth=scram-sha-256", "--tls=off", "--keep=off"},
		{"--auth=scram-sha-256", "--tls=on", "--tls-starttls=off", "--keep=off"},
		{"--auth=scram-sha-1", "--tls=on", "--tls-starttls=on", "--keep=off"},
	} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			t.Parallel()
			account, letters := s.stock(t, fmt.Sprint("mpop", i))
			dir, port := t.TempDir(), s.port(t, "pop")
			if options[2] == "--tls-starttls=off" {
				port = s.port(t, "pops")
			}
			mbox := filepath.Join(dir, "mbox")
			args := append([]string{"mpop", "--host=localhost", "--port=" + port,
				"--user=" + account, "--passwordeval=echo " + password, "--delivery=mda,cat >>" + mbox,
				"--uidls-file=" + filepath.Join(dir, "uidls"), "--timeout=20", "--received-header=off",
				"--tls-trust-file=" + filepath.Join(s.dir, "tls.pem")}, options...)
			for range 2 { // the second time finds nothing new
				trial.Command(t, "", args...).Want(t, 0)
				wantCopies(t, mbox, letters)
			}
			if options[len(options)-1] == "--keep=off" {
				letters = nil
			}
			s.wantMail(t, account, letters...)
		})
	}
}

// What mpop reads from CAPA, and that it is held to the delay between logins.
func TestMpopServerInfo(t *testing.T) {
	t.Parallel()
	trial.Need(t, "mpop")
	s := serve(t, "pop.login_delay=90s", "pop.expire=30d")
	account := s.account(t, "alice")
	mpop := func(args ...string) *trial.Result {
		return trial.Command(t, "", append([]string{"mpop", "--host=localhost",
			"--port=" + s.port(t, "pop"), "--tls=on", "--timeout=20", "--auth=user", "--user=" + account,
			"--passwordeval=echo " + password, "--tls-trust-file=" + filepath.Join(s.dir, "tls.pem"),
			"--uidls-file=" + filepath.Join(t.TempDir(), "uidls"), "--delivery=mda,cat"}, args...)...)
	}
	info := mpop("--serverinfo").Want(t, 0).Stdout
	for _, want := range []string{
		"IMPLEMENTATION:\n        Postrider", "PIPELINING:\n", "TOP:\n", "UIDL:\n", "STLS:\n",
		"LOGIN-DELAY 90:\n        minimum time between logins is 90 seconds", "EXPIRE 30:\n",
		"AUTH:\n        Supported authentication methods:\n        USER PLAIN SCRAM-SHA-256 APOP LOGIN",
		"RESP-CODES:\n", "AUTH-RESP-CODE:\n",
	} {
		if !strings.Contains(info, "    "+want) {
			t.Errorf("%s\nlacks %q", info, want)
		}
	}
	// That was a login.
	if r := mpop(); r.Status == 0 || !strings.Contains(r.Stderr, "[LOGIN-DELAY]") {
		t.Errorf("the next login: %v", r)
	}
}
