package clients

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postrider/internal/trial"
)

// buildMox builds testdata/mox once for all tests. Without has says why its
// modules cannot be had.
var buildMox = sync.OnceValues(func() (m struct{ path, without string }, err error) {
	fetch := exec.Command("go", "mod", "download")
	fetch.Dir = filepath.Join("testdata", "mox")
	if said, err := fetch.CombinedOutput(); err != nil {
		m.without = fmt.Sprintf("the client of mox cannot be fetched: %v: %.300s", err, said)
		return m, nil
	}
	if m.path, err = trial.Executable("mox"); err != nil {
		return m, err
	}
	build := exec.Command("go", "build", "-o", m.path, ".")
	build.Dir = fetch.Dir
	if said, err := build.CombinedOutput(); err != nil {
		return m, fmt.Errorf("go build in %s: %w\n%s", build.Dir, err, said)
	}
	return m, nil
})

// mox runs a function of testdata/mox for an account.
func (s *server) mox(t *testing.T, name, account, letter string, more map[string]any) {
	t.Helper()
	m, err := buildMox()
	if err != nil {
		t.Fatal(err)
	}
	if m.without != "" {
		t.Skip(m.without)
	}
	trial.Command(t, "", m.path, name, s.where(t, account, letter, more)).Want(t, 0)
}

// The SMTP client of mox divides the recipients as LIMITS tells it.
func TestMoxLimits(t *testing.T) {
	t.Parallel()
	s := serve(t, "smtp.max_recipients=100")
	var all []string
	table := "UserName\tPassword\n"
	for i := range 110 {
		name := fmt.Sprintf("mox%03d", i)
		table += name + "\t"
		if i == 0 || i == 99 || i == 109 { // whose mail is looked at
			table += password
		}
		table += "\n"
		all = append(all, name+"@localhost")
	}
	trial.Postrider(t, s.dir, table, "account", "import", "-").Want(t, 0)
	s.mox(t, "limits", all[0], letter, map[string]any{"recipients": all, "limit": 100})
	for i, account := range all {
		switch i {
		case 0, 99: // these are of the transaction with one too many, too
			s.wantMail(t, account, letter, letter)
		case 109:
			s.wantMail(t, account, letter)
		}
	}
}

func TestMox(t *testing.T) {
	t.Parallel()
	s := serve(t, "auth.scram_sha1=yes")
	utf8 := strings.NewReplacer("A. Writer", "Jürgen", "a letter", "Grüße").Replace(letter)
	for _, tc := range []struct {
		name   string
		letter string // to be there so many times; its writer is the account
		times  int
	}{
		{"refused", letter, 0}, {"requiretls", letter, 2}, {"utf8", utf8, 1}, {"scram", letter, 10},
		{"scram_pop", letter, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			account := s.account(t, tc.name)
			text := strings.Replace(tc.letter, "sender@example.net", account, 1)
			s.mox(t, tc.name, account, text, nil)
			var want []string
			for range tc.times {
				want = append(want, text)
			}
			s.wantMail(t, account, want...)
		})
	}
}
