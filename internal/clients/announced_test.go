package clients

import (
	"crypto/tls"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postrider/internal/trial"
)

// spoken says which test has a real client use what is announced. A keyword is
// announced only when there is one.
var spoken = map[string]string{
	"EHLO PIPELINING":          "TestPostfixSends",
	"EHLO 8BITMIME":            "TestPerlSends",
	"EHLO SMTPUTF8":            "TestPostfixSends",
	"EHLO CHUNKING":            "TestDovecotRelays",
	"EHLO BINARYMIME":          "TestDovecotRelays",
	"EHLO ENHANCEDSTATUSCODES": "TestPostfixSends",
	"EHLO SIZE":                "TestPostfixSends",
	"EHLO STARTTLS":            "TestPostfixSends",
	"EHLO REQUIRETLS":          "TestMox",
	"EHLO LIMITS":              "TestMoxLimits",
	"EHLO HELP":                "TestPythonSends",

	"AUTH SCRAM-SHA-256-PLUS": "TestMox",
	"AUTH SCRAM-SHA-256":      "TestMsmtp",
	"AUTH SCRAM-SHA-1":        "TestMsmtp",
	"AUTH PLAIN":              "TestMsmtp",
	"AUTH LOGIN":              "TestMsmtp",

	"CAPA TOP":            "TestPythonFetches",
	"CAPA UIDL":           "TestFetchmail",
	"CAPA USER":           "TestFetchmail",
	"CAPA STLS":           "TestMpop",
	"CAPA PIPELINING":     "TestMpop",
	"CAPA RESP-CODES":     "TestMpopServerInfo",
	"CAPA AUTH-RESP-CODE": "TestMpopServerInfo",
	"CAPA LOGIN-DELAY":    "TestMpopServerInfo",
	"CAPA EXPIRE":         "TestMpopServerInfo",
	"CAPA IMPLEMENTATION": "TestMpopServerInfo",
	"CAPA UTF8":           "TestPythonUTF8",

	"SASL SCRAM-SHA-256-PLUS": "TestMox", // by its SASL alone: mox does not fetch
	"SASL SCRAM-SHA-256":      "TestMpop",
	"SASL SCRAM-SHA-1":        "TestMpop",
	"SASL PLAIN":              "TestMpop",
	"SASL LOGIN":              "TestMpop",
}

// unspoken is what no client uses that we could find, with what was looked at.
var unspoken = map[string]string{
	"CAPA LANG": "no fetching program or library of Debian 12, Go or npm has it",
}

// Every word that the server announces, at every door, with TLS and without,
// has a client; and nothing in the tables is of the past.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	s := serve(t, "auth.scram_sha1=yes")
	found := map[string]bool{}
	for _, door := range []struct{ service, command, list, mechanisms string }{
		{"smtp", "EHLO x.example.net", "EHLO ", "AUTH "},
		{"submission", "EHLO x.example.net", "EHLO ", "AUTH "},
		{"submissions", "EHLO x.example.net", "EHLO ", "AUTH "},
		{"lmtp", "LHLO x.example.net", "EHLO ", "AUTH "},
		{"pop", "CAPA", "CAPA ", "SASL "},
		{"pops", "CAPA", "CAPA ", "SASL "},
	} {
		for _, line := range s.announces(t, door.service, door.command) {
			words := strings.Fields(line)
			if words[0] == "AUTH" || words[0] == "SASL" {
				for _, name := range words[1:] {
					found[door.mechanisms+name] = true
				}
			} else {
				found[door.list+words[0]] = true
			}
		}
	}
	tests := testsText(t)
	for _, what := range slices.Sorted(maps.Keys(found)) {
		test, ok := spoken[what]
		switch {
		case !ok && unspoken[what] == "":
			t.Errorf("%s is announced, and no test has a real client use it", what)
		case ok && !strings.Contains(tests, "\nfunc "+test+"(t *testing.T)"):
			t.Errorf("%s: there is no test %s", what, test)
		}
	}
	for what := range spoken {
		if !found[what] {
			t.Errorf("%s is not announced", what)
		}
	}
	for what := range unspoken {
		if !found[what] {
			t.Errorf("%s is not announced", what)
		}
	}
}

// announces gives the lines with which a service answers a command, without
// the first of CAPA and the name of the host.
func (s *server) announces(t *testing.T, service, command string) []string {
	t.Helper()
	c := s.talk(t, service)
	if strings.HasSuffix(service, "s") {
		c.Conn = tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	}
	c.SetDeadline(time.Now().Add(trial.Patience))
	c.say(command, "QUIT")
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(all)) {
		line = strings.TrimRight(line, "\r\n")
		if command != "CAPA" {
			rest, ok := strings.CutPrefix(line, "250")
			if !ok {
				continue
			}
			line = rest[1:]
		}
		if line != "." && !strings.HasPrefix(line, "+OK") {
			list = append(list, line)
		}
	}
	if command != "CAPA" {
		list = list[1:]
	}
	if len(list) < 5 {
		t.Fatalf("%s says %q", service, all)
	}
	return list
}

// testsText is the text of all tests of this package.
func testsText(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
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
