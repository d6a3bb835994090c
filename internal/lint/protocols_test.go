package lint

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const protocolsPage = root + "/docs/protocols.md"

// An rfcRow is a row of the tables of RFCs.
type rfcRow struct{ state, missing string }

// readProtocols gives the rows of all tables of the page by their first
// cell, each as its cells.
func readProtocols(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile(protocolsPage)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(page)) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "|")
		if !ok || strings.HasPrefix(line, "--") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.TrimSuffix(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		key := strings.Trim(cells[0], "`")
		if key == "RFC" || key == "keyword" || key == "mechanism" {
			continue
		}
		if rows[key] != nil {
			t.Errorf("%s stands twice in docs/protocols.md", key)
		}
		rows[key] = cells
	}
	return rows
}

var number = regexp.MustCompile(`^\d{3,4}$`)

// rfcRows are the rows that are about an RFC.
func rfcRows(t *testing.T) map[string]rfcRow {
	t.Helper()
	rows := map[string]rfcRow{}
	for key, cells := range readProtocols(t) {
		if !number.MatchString(key) {
			continue
		}
		if len(cells) != 4 || cells[1] == "" {
			t.Errorf("RFC %s: want number, name, state and what is missing", key)
			continue
		}
		rows[key] = rfcRow{state: cells[2], missing: cells[3]}
	}
	return rows
}

// The names of RFCs in a comment: "RFC 5321", "RFC 2045 to 2049, 2183".
var (
	rfcNames  = regexp.MustCompile(`RFC \d{3,4}\b(?:(?:,| to| and) \d{4}\b)*`)
	rfcNumber = regexp.MustCompile(`\d{3,4}`)
)

// namedRFCs are the RFCs that comments of the program name, with a place.
func namedRFCs(t *testing.T) map[string]string {
	t.Helper()
	named := map[string]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, group := range s.file.Comments {
			text := strings.Join(strings.Fields(group.Text()), " ")
			for _, names := range rfcNames.FindAllString(text, -1) {
				for _, n := range rfcNumber.FindAllString(names, -1) {
					named[n] = s.at(group)
				}
			}
		}
	}
	return named
}

func TestEveryRFCIsListed(t *testing.T) {
	rows, named := rfcRows(t), namedRFCs(t)
	for n, place := range named {
		if _, ok := rows[n]; !ok {
			t.Errorf("%s names RFC %s, which docs/protocols.md does not list", place, n)
		}
	}
	for n, row := range rows {
		switch row.state {
		case "yes", "partly":
			if named[n] == "" {
				t.Errorf("docs/protocols.md has RFC %s with %q, but no code names it", n, row.state)
			}
			if row.state == "partly" && row.missing == "" {
				t.Errorf("docs/protocols.md does not say what is missing of RFC %s", n)
			}
		case "no":
		default:
			t.Errorf("RFC %s: got state %q, want yes, partly or no", n, row.state)
		}
	}
}

// TestKeywords compares the tables of keywords and mechanisms with what the
// built program announces before a login, in clear text and with TLS.
func TestKeywords(t *testing.T) {
	want := map[string][]string{} // by the command that asks: EHLO, LHLO, CAPA; or SASL
	for key, cells := range readProtocols(t) {
		switch {
		case number.MatchString(key):
		case len(cells) == 3:
			want["SASL"] = append(want["SASL"], key)
		default:
			for command := range strings.SplitSeq(cells[1], ", ") {
				want[command] = append(want[command], key)
			}
		}
	}
	got := announced(t)
	for _, m := range []map[string][]string{want, got} {
		for command := range m {
			slices.Sort(m[command])
			m[command] = slices.Compact(m[command])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/protocols.md (-) and the program (+) differ:\n%s", diff)
	}
}

// announced asks a running server for its keywords.
func announced(t *testing.T) map[string][]string {
	t.Helper()
	address := startProgram(t)
	got := map[string][]string{}
	for service, command := range map[string]string{"smtp": "EHLO", "submission": "EHLO",
		"lmtp": "LHLO", "pop": "CAPA"} {
		c := dial(t, address[service])
		plain := c.capabilities(command)
		start, ok := "STLS", "+OK"
		if command != "CAPA" {
			start, ok = "STARTTLS", "220"
		}
		if !slices.Contains(plain, start) {
			t.Errorf("%s does not announce %s", service, start)
		}
		c.say(start, ok)
		c.encrypt()
		for _, line := range slices.Concat(plain, c.capabilities(command)) {
			words := strings.Fields(line)
			got[command] = append(got[command], words[0])
			if words[0] == "AUTH" || words[0] == "SASL" {
				got["SASL"] = append(got["SASL"], words[1:]...)
			}
		}
	}
	return got
}

// startProgram builds and runs the server, with everything on that a setting
// may switch on, and gives the addresses of its services.
func startProgram(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "postrider.exe")
	build := exec.Command("go", "build", "-o", program, "./cmd/postrider")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args := []string{"serve", "--json", "--data", filepath.Join(dir, "data"),
		"--set", "auth.scram_sha1=true"}
	for _, service := range []string{"smtp", "submission", "submissions", "lmtp", "pop", "pops"} {
		args = append(args, "--set", service+".listen=127.0.0.1:0")
	}
	serve := exec.Command(program, args...)
	serve.Stderr = os.Stderr
	out, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		serve.Process.Kill()
		serve.Wait()
	})
	var greeting struct {
		Listeners []struct{ Service, Address string }
	}
	if err := json.NewDecoder(out).Decode(&greeting); err != nil {
		t.Fatal(err)
	}
	addresses := map[string]string{}
	for _, l := range greeting.Listeners {
		addresses[l.Service] = l.Address
	}
	return addresses
}

// A dialogue is a client of SMTP or POP3.
type dialogue struct {
	t    *testing.T
	conn net.Conn
	in   *textproto.Reader
}

// dial connects and reads the greeting.
func dial(t *testing.T, address string) *dialogue {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	d := &dialogue{t, conn, textproto.NewReader(bufio.NewReader(conn))}
	d.line()
	return d
}

func (d *dialogue) line() string {
	d.t.Helper()
	line, err := d.in.ReadLine()
	if err != nil {
		d.t.Fatal(err)
	}
	return line
}

// say sends a line and wants a reply that begins so.
func (d *dialogue) say(line, want string) {
	d.t.Helper()
	if _, err := d.conn.Write([]byte(line + "\r\n")); err != nil {
		d.t.Fatal(err)
	}
	if got := d.line(); !strings.HasPrefix(got, want) {
		d.t.Fatalf("%s: got %q, want %q", line, got, want)
	}
}

// capabilities gives the lines that follow the first one of the reply.
func (d *dialogue) capabilities(command string) []string {
	d.t.Helper()
	var list []string
	if command == "CAPA" {
		d.say("CAPA", "+OK")
		list, err := d.in.ReadDotLines()
		if err != nil {
			d.t.Fatal(err)
		}
		return list
	}
	d.say(command+" client.example.net", "250-")
	for {
		line := d.line()
		list = append(list, line[4:])
		if line[3] == ' ' {
			return list
		}
	}
}

// encrypt goes on with TLS.
func (d *dialogue) encrypt() {
	d.conn = tls.Client(d.conn, &tls.Config{InsecureSkipVerify: true})
	d.in = textproto.NewReader(bufio.NewReader(d.conn))
}
