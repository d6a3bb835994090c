package clients

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postrider/internal/trial"
)

// says fails the test unless the command succeeds and prints what the regular
// expressions describe.
func says(t *testing.T, dir, line string, patterns ...string) *trial.Result {
	t.Helper()
	r := postrider(t, dir, strings.Fields(line)...).Want(t, 0)
	for _, p := range patterns {
		if !regexp.MustCompile(`(?m)` + p).MatchString(r.Stdout) {
			t.Errorf("%v\nlacks %q", r, p)
		}
	}
	return r
}

// fails fails the test unless the command ends with the status and says text
// on standard error.
func fails(t *testing.T, dir, line string, status int, text string) {
	t.Helper()
	r := postrider(t, dir, strings.Fields(line)...).Want(t, status)
	if !strings.Contains(r.Stderr, text) || r.Stdout != "" {
		t.Errorf("%v\nwant %q on standard error alone", r, text)
	}
}

// login tries a password by POP3.
func (s *server) login(t *testing.T, user, password string) bool {
	t.Helper()
	c := s.talk(t, "pop")
	c.hear("+OK")
	c.say("USER " + user).hear("+OK")
	got := c.say("PASS " + password).hear("\r\n")
	c.Close()
	return strings.HasPrefix(got, "+OK")
}

// rcpt tries a recipient by SMTP and gives the reply.
func (s *server) rcpt(t *testing.T, to string) string {
	t.Helper()
	c := s.talk(t, "smtp")
	c.hear("220 ")
	c.say("HELO client.example.net").hear("250 ")
	c.say("MAIL FROM:<sender@example.net>").hear("250 ")
	got := c.say("RCPT TO:<" + to + ">").hear("\r\n")
	c.Close()
	return got
}

// Every command on accounts does the same through a running server and
// directly on the directory.
func TestAccountCommands(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		t.Run(map[bool]string{true: "running", false: "direct"}[running], func(t *testing.T) {
			s := serve(t)
			dir := s.dir
			if !running {
				s.stop()
			}
			accountCommands(t, dir)
			if running {
				s.stop()
			}
			postrider(t, dir, "check").Want(t, 0)
		})
	}
}

func accountCommands(t *testing.T, dir string) {
	secret := file(t, "secret", "open sesame\r\nsecond line\r\n")
	says(t, dir, "account add alice --full-name Alice --quota 5M --password-file "+secret,
		`^The account alice@localhost is made\.\n$`)
	says(t, dir, "--generate account add Bob", `^The account bob@localhost is made\.$`,
		`shown only now: ([a-z]{4}-){4}[a-z]{4}$`)
	fails(t, dir, "account add ALICE@localhost", 4, "alice@localhost exists already")
	fails(t, dir, "account add carol@example.com", 3, "example.com")
	fails(t, dir, "account add carol@x@localhost", 2, "carol@x")
	says(t, dir, "account list", `^ADDRESS +NAME +STATE +QUOTA\n`,
		`^alice@localhost +Alice +enabled +5\.0 MB$`, `^bob@localhost +enabled +none$`,
		`^postmaster@localhost `)
	says(t, dir, "account show alice", `^Quota +5\.0 MB$`, `^Mail +0 messages, 0 B$`)
	says(t, dir, "account set alice --quota none --apop allowed")
	says(t, dir, "account show alice", `^Quota +none$`,
		`^APOP +allowed \(from the next password on\)$`)
	says(t, dir, "account password alice --password-file "+secret)
	says(t, dir, "account show alice", `^APOP +allowed$`)
	says(t, dir, "account disable alice", "disabled")
	says(t, dir, "account list", `^alice@localhost +Alice +disabled `)
	says(t, dir, "account enable alice", "enabled")
	says(t, dir, "account app add alice phone", `"phone"`, `([a-z]{4}-){4}[a-z]{4}$`)
	fails(t, dir, "account app add alice phone", 4, "phone")
	says(t, dir, "account app list alice", `^phone +20`)
	says(t, dir, "account app remove alice phone")
	fails(t, dir, "account app remove alice phone", 3, "phone")
	export := says(t, dir, "account export", `^UserName\tFullName\t`, `^alice@localhost\tAlice\t`)
	if strings.Contains(export.Stdout, "sesame") {
		t.Errorf("the export holds a password:\n%s", export.Stdout)
	}
	says(t, dir, "account remove alice --yes", `removed, with 0 messages`)
	fails(t, dir, "account show alice", 3, "alice@localhost")
	table := file(t, "users.tsv", export.Stdout)
	says(t, dir, "account import --dry-run "+table, `added: 1,`)
	fails(t, dir, "account show alice", 3, "alice@localhost")
	says(t, dir, "account import "+table, `added: 1,`)
	says(t, dir, "account show alice", `^Full name +Alice$`, `^Password +none`)
}

// A changed password, a disabled account and a removed one are seen at once
// by everybody who knocks.
func TestAccountChangesAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t)
	account := s.account(t, "alice")
	want := func(secret string, login bool, reply string) {
		t.Helper()
		if got := s.login(t, account, secret); got != login {
			t.Errorf("login with %q: got %v, want %v", secret, got, login)
		}
		if got := s.rcpt(t, account); !strings.HasPrefix(got, reply) {
			t.Errorf("RCPT: got %q, want %q", got, reply)
		}
	}
	want(password, true, "250 ")
	trial.Postrider(t, s.dir, "another 48\n", "account", "password", "alice", "--password-file", "-").
		Want(t, 0)
	want(password, false, "250 ")
	want("another 48", true, "250 ")
	says(t, s.dir, "account disable alice")
	want("another 48", false, "550 ")
	says(t, s.dir, "account enable alice")
	want("another 48", true, "250 ")
	says(t, s.dir, "account set alice --login no")
	want("another 48", false, "250 ")
	says(t, s.dir, "account set alice --login yes")
	r := says(t, s.dir, "account app add alice phone --json")
	var app struct{ Password string }
	if err := json.Unmarshal([]byte(r.Stdout), &app); err != nil {
		t.Fatal(err)
	}
	want(app.Password, true, "250 ")
	says(t, s.dir, "account app remove alice phone")
	want(app.Password, false, "250 ")
	says(t, s.dir, "account remove alice --yes")
	if got := s.rcpt(t, account); !strings.HasPrefix(got, "550 5.1.1") {
		t.Errorf("RCPT of a removed account: %q", got)
	}
}

func TestDomainCommands(t *testing.T) {
	t.Parallel()
	s := serve(t)
	says(t, s.dir, "domain add Example.ORG", `^The domain example\.org is served here\.$`)
	says(t, s.dir, "domain list", `^DOMAIN +MAIN +ADDED\n`, `^example\.org +no `,
		`^localhost +yes `)
	fails(t, s.dir, "domain add example.org", 4, "example.org")
	s.account(t, "alice@example.org")
	if got := s.rcpt(t, "Alice@EXAMPLE.org"); !strings.HasPrefix(got, "250 ") {
		t.Errorf("RCPT: %q", got)
	}
	fails(t, s.dir, "domain remove example.org", 1, "still has accounts")
	if s.login(t, "alice", password) {
		t.Error("the bare name is that of the main domain, which is another")
	}
	says(t, s.dir, "domain main example.org")
	if !s.login(t, "alice", password) {
		t.Error("the bare name does not log in at the main domain")
	}
	says(t, s.dir, "account remove alice@example.org --yes")
	says(t, s.dir, "domain main localhost")
	says(t, s.dir, "domain remove example.org")
	fails(t, s.dir, "domain remove example.org", 3, "example.org")
	if got := s.rcpt(t, "alice@example.org"); !strings.HasPrefix(got, "550 5.7.1") {
		t.Errorf("RCPT: %q", got)
	}
}

func TestSettingsCommands(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	config := file(t, "site.toml", "[smtp]\nmax_hops = 33\n")
	s := serveIn(t, dir, append([]string{"--config", config}, everyDoor...)...)
	says(t, dir, "settings", `^SETTING +VALUE +FROM\n`, `^smtp\.max_hops +33 .*site\.toml`,
		`^smtp\.listen +127\.0\.0\.1:0 +.*--set`, `^smtp\.max_size +64M +default$`)
	says(t, dir, "settings smtp.max_size", `^smtp\.max_size = 64M\n`, `^Default +64M$`)
	fails(t, dir, "settings set smtp.max_hops 40", 1, "site.toml")
	fails(t, dir, "settings set smtp.listen 127.0.0.1:25", 1, "--set")
	fails(t, dir, "settings set smtp.max_size lots", 2, `"lots" is not a size`)
	fails(t, dir, "settings set smtp.max_sise 5M", 3, "smtp.max_size")
	says(t, dir, "settings set smtp.max_size 1M", `^smtp\.max_size: 64M -> 1M\n$`)
	size := func() string {
		c := s.talk(t, "smtp")
		defer c.Close()
		c.hear("220 ")
		return c.say("EHLO x.example.net").hear("250 ")
	}
	if got := size(); !strings.Contains(got, "SIZE 1048576\r\n") {
		t.Errorf("after settings set: %q", got)
	}
	says(t, dir, "settings set server.hostname mx.example.org", "restart")
	says(t, dir, "status", `^Needs a restart +server\.hostname$`)
	says(t, dir, "config export", `(?s)\[server\].*hostname = .mx\.example\.org.`, `max_size`)
	other := file(t, "other.toml", "[smtp]\nmax_size = \"3M\"\n")
	says(t, dir, "config apply --replace --dry-run "+other, `^smtp\.max_size: 1M -> 3M$`,
		`^server\.hostname: mx\.example\.org -> `, `^Nothing was changed`)
	says(t, dir, "settings smtp.max_size", `= 1M$`)
	says(t, dir, "config apply "+other, `^smtp\.max_size: 1M -> 3M\n$`)
	if got := size(); !strings.Contains(got, "SIZE 3145728\r\n") {
		t.Errorf("after config apply: %q", got)
	}
	says(t, dir, "settings server.hostname", `= mx\.example\.org$`)
	says(t, dir, "config apply --replace "+other)
	says(t, dir, "settings server.hostname", `= \(empty\)$`)
	wrong := file(t, "wrong.toml", "[smtp]\nmax_size = \"4M\"\nmax_sise = 1\n")
	fails(t, dir, "config apply "+wrong, 1, "wrong.toml:3: ")
	says(t, dir, "settings smtp.max_size", `= 3M$`)
	says(t, dir, "settings reset smtp.max_size", `3M -> 64M \(default\)`)
	// The default file is a settings file that sets nothing.
	example := file(t, "default.toml", says(t, dir, "config default").Stdout)
	says(t, dir, "config apply "+example, `^Nothing changes\.\n$`)
}

// A message's way can be asked for by its id, by who sent it, and by who got it.
func TestTraceAndLog(t *testing.T) {
	t.Parallel()
	s := serve(t)
	account := s.account(t, "alice")
	s.send(t, account, letter)
	s.rcpt(t, "nobody@localhost")
	s.login(t, account, "wrong")
	id := regexp.MustCompile(`\sid (\S+)`).FindStringSubmatch(s.mailbox(t, account)[0])
	if id == nil {
		t.Fatal("no id in the Received line")
	}
	id[1] = strings.TrimSuffix(id[1], ";")
	for _, what := range []string{account, "sender@example.net", id[1]} {
		says(t, s.dir, "trace "+what, `^20.*  `+regexp.QuoteMeta(id[1])+`$`, `sender@example\.net`,
			`[Dd]elivered`)
	}
	fails(t, s.dir, "trace nosuchid", 3, "nosuchid")
	says(t, s.dir, "log --all", `started`, `nobody@localhost`, account)
	s.stop()
	says(t, s.dir, "log --level 1 --component intake", `nobody@localhost`)
	says(t, s.dir, "trace "+account, regexp.QuoteMeta(id[1]))
	if r := says(t, s.dir, "log --all"); strings.Contains(r.Stdout, password) {
		t.Error("the log holds a password")
	}
}

// Answers with --json are one object or array, errors one object on standard
// error; the names are there for scripts to rely on.
func TestJSON(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for _, tc := range []struct {
		line string
		keys string // of the object, or of the first of the array
	}{
		{"status", "running version pid started hostname data_directory listeners " +
			"need_restart"},
		{"account add alice --generate", "address password"},
		{"account list", "address full_name enabled login quota_bytes apop volume notify " +
			"created changed"},
		{"account show alice", "address messages used_bytes password app_passwords"},
		{"account set alice --quota 1M", "address quota_bytes"},
		{"account password alice --generate", "address password"},
		{"account app add alice phone", "address name password"},
		{"account app list alice", "name created"},
		{"account disable alice", "address enabled"},
		{"account export", "content accounts"},
		{"account remove alice --yes", "address messages"},
		{"domain list", "name main created"},
		{"domain add example.org", "name main created"},
		{"settings", "name value source where default type scope restart pending"},
		{"settings smtp.listen", "name value source where default type scope restart pending"},
		{"settings set smtp.max_hops 40", "changes running"},
		{"config export", "content"},
		{"check", "problems damaged"},
		{"reload", "notes"},
		{"version", "version go system"},
		{"trace postmaster@localhost", ""},
	} {
		for _, line := range []string{tc.line + " --json", "--json " + tc.line} {
			if line[0] == '-' && strings.ContainsAny(tc.line, "+") || line[0] == '-' &&
				regexp.MustCompile(`^(account (add|remove|app add)|domain add)`).MatchString(tc.line) {
				continue // not to be done twice
			}
			r := says(t, s.dir, line)
			var v any
			if err := json.Unmarshal([]byte(r.Stdout), &v); err != nil || r.Stderr != "" {
				t.Errorf("%v\n%v", r, err)
				continue
			}
			if list, ok := v.([]any); ok && len(list) > 0 {
				v = list[0]
			}
			object, _ := v.(map[string]any)
			for _, key := range strings.Fields(tc.keys) {
				if _, ok := object[key]; !ok {
					t.Errorf("%v\nlacks %s", r, key)
				}
			}
		}
	}
	for line, want := range map[string]string{
		"account show nobody": `{"error":"there is no account nobody@localhost",` +
			`"kind":"not_found"}`,
		"account add postmaster": `{"error":"the account postmaster@localhost exists already",` +
			`"kind":"exists"}`,
		"frisbee":                      `{"error":"there is no command \"frisbee\"","kind":"usage"}`,
		"settings set smtp.max_hops x": `"kind":"invalid"}`,
	} {
		r := postrider(t, s.dir, append([]string{"--json"}, strings.Fields(line)...)...)
		if !strings.Contains(r.Stderr, want) || r.Stdout != "" || !json.Valid([]byte(r.Stderr)) {
			t.Errorf("%v\nwant %s", r, want)
		}
	}
}

// setup turns a first run into the server of a domain.
func TestSetup(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	r := says(t, dir, "setup example.org --no-service --generate --address 192.0.2.25",
		`mail\.example\.org`, `192\.0\.2\.25`, `MX`, `([a-z]{4}-){4}[a-z]{4}`)
	secret := regexp.MustCompile(`([a-z]{4}-){4}[a-z]{4}`).FindString(r.Stdout)
	says(t, dir, "settings smtp.listen", `^smtp\.listen = .*:25\b`)
	says(t, dir, "settings pops.listen", `^pops\.listen = .*:995\b`)
	says(t, dir, "settings server.hostname", `= mail\.example\.org$`)
	says(t, dir, "domain list", `^example\.org +yes `)
	s := serveIn(t, dir, everyDoor...)
	if s.Password != "" {
		t.Error("after setup, serve calls it a first run")
	}
	if !s.login(t, "postmaster", secret) {
		t.Error("the password of postmaster is not the one printed")
	}
	s.send(t, "postmaster@example.org", letter)
	if got := s.mailboxWith(t, "postmaster@example.org", secret); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
	// Again: nothing is lost and the password stays.
	s.stop()
	says(t, dir, "setup example.org --no-service --address 192.0.2.25", `mail\.example\.org`)
	s = serveIn(t, dir, everyDoor...)
	if !s.login(t, "postmaster", secret) {
		t.Error("a second setup changed the password")
	}
}

func TestCompletion(t *testing.T) {
	trial.Need(t, "bash")
	dir := filepath.Dir(trial.Program(t))
	script := `PATH=` + dir + `:$PATH; source <(postrider completion bash)
COMP_WORDS=(postrider account r); COMP_CWORD=2
$(complete -p postrider | sed 's/.*-F \([^ ]*\) .*/\1/') postrider r account
echo "${COMPREPLY[@]}"`
	if filepath.Base(trial.Program(t)) != "postrider" {
		t.Skip("the program has another name")
	}
	r := trial.Command(t, "", "bash", "-c", script).Want(t, 0)
	if strings.TrimSpace(r.Stdout) != "remove" {
		t.Errorf("%v\nwant remove", r)
	}
}
