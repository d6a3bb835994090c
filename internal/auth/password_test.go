package auth

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xdg-go/stringprep"

	"postrider/internal/mail"
	"postrider/internal/store"
)

func TestMakeCredentials(t *testing.T) {
	for _, test := range []struct {
		name string
		sha1 bool
		mode store.APOPMode
		want []string
	}{
		{"plain", false, store.APOPOff, []string{"argon2id", "scram-sha-256"}},
		{"SHA-1", true, store.APOPOff, []string{"argon2id", "scram-sha-256", "scram-sha-1"}},
		{"APOP", false, store.APOPAllowed, []string{"apop", "argon2id", "scram-sha-256"}},
		{"required", false, store.APOPRequired, []string{"apop", "argon2id", "scram-sha-256"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := New(Config{Seal: plainSealer{}, Policy: func() Policy {
				return Policy{SCRAMSHA1: test.sha1, SCRAMRounds: 25000}
			}})
			creds, err := a.MakeCredentials(t.Context(), "rosebud",
				CredentialOptions{APOP: test.mode})
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, c := range creds {
				kinds = append(kinds, c.Kind)
				data := string(c.Data)
				switch c.Kind {
				case kindArgon2:
					if !strings.HasPrefix(data, "$argon2id$v=19$m=19456,t=2,p=1$") {
						t.Errorf("got %s", data)
					}
				case kindAPOP:
				default:
					if !strings.Contains(data, "$25000:") {
						t.Errorf("got %s", data)
					}
				}
				if c.Kind != kindAPOP && strings.Contains(data, "rosebud") || c.Created.IsZero() {
					t.Errorf("got %s of %v", data, c.Created)
				}
			}
			if diff := cmp.Diff(test.want, kinds); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
	a := New(Config{})
	_, err := a.MakeCredentials(t.Context(), "rosebud", CredentialOptions{APOP: store.APOPAllowed})
	if mail.KindOf(err) != mail.Conflict {
		t.Errorf("without a key: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.work.bulk <- struct{}{}
	if _, err := a.MakeCredentials(ctx, "rosebud", CredentialOptions{}); !errors.Is(err, ctx.Err()) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestCheckPassword(t *testing.T) {
	for password, ok := range map[string]bool{
		"x": true, "two words": true, " ": true, "Ωmega": true, "🔑🔑": true,
		strings.Repeat("x", 512): true,
		"":                       false, "a\x00b": false, "tab\t": false, "line\n": false, "\x7f": false,
		"\u0085": false, "\xff": false, "\u00ad": false, strings.Repeat("x", 513): false,
	} {
		err := CheckPassword(password)
		if (err == nil) != ok || err != nil && mail.KindOf(err) != mail.Invalid {
			t.Errorf("%q: got %v, want ok %v", password, err, ok)
		}
	}
}

func TestArgon(t *testing.T) {
	// From the tests of the reference implementation.
	foreign, err := parseArgon("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$" +
		"nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
	if err != nil || !cmp.Equal(foreign.compute("password"), foreign.key) {
		t.Errorf("a foreign hash is not understood: %v", err)
	}
	h := newArgon("rosebud")
	again, err := parseArgon(h.String())
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(again.compute("rosebud"), h.key) || cmp.Equal(again.compute("Rosebud"), h.key) {
		t.Error("a hash does not know its password")
	}
	good := h.String()
	for _, bad := range []string{
		"", "$", "$argon2id", "x" + good, strings.Replace(good, "argon2id", "argon2i", 1),
		strings.Replace(good, "v=19", "v=16", 1), strings.Replace(good, "m=19456", "m=9999999", 1),
		strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "t=2", "t=1000", 1),
		strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "m=", "", 1),
		good[:len(good)-30], good + "$", good + "=",
	} {
		if _, err := parseArgon(bad); mail.KindOf(err) != mail.Damaged {
			t.Errorf("%q: got %v, want kind Damaged", bad, err)
		}
	}
}

func TestRandomPassword(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]{4}(-[a-z]{4}){4}$`)
	seen := map[string]bool{}
	letters := map[rune]int{}
	for range 2000 {
		p := RandomPassword()
		if !form.MatchString(p) || seen[p] {
			t.Fatalf("got %q", p)
		}
		seen[p] = true
		for _, r := range p {
			letters[r]++
		}
	}
	// 40 000 letters of 24: 1667 each, with a deviation of 40.
	for _, r := range randomLetters {
		if n := letters[r]; n < 1400 || n > 1950 {
			t.Errorf("%c came %d times", r, n)
		}
	}
}

func TestMakeAppPassword(t *testing.T) {
	a := New(Config{})
	c, plain, err := a.MakeAppPassword("Alice's phone")
	if err != nil || c.Kind != "app" || c.Name != "Alice's phone" || c.Created.IsZero() {
		t.Fatalf("got %+v, %v", c, err)
	}
	creds := []store.Credential{{Kind: "argon2id"}, c}
	for password, ok := range map[string]bool{
		plain: true, strings.ToUpper(plain): true, strings.ReplaceAll(plain, "-", " "): true,
		plain[1:]: false, "": false, plain + "x": false,
	} {
		if name, got := matchApp(creds, password); got != ok || ok && name != c.Name {
			t.Errorf("%q: got %q, %v, want %v", password, name, got, ok)
		}
	}
	for _, name := range []string{"", "  ", "a\nb", strings.Repeat("x", 65), "\xff"} {
		if _, _, err := a.MakeAppPassword(name); mail.KindOf(err) != mail.Invalid {
			t.Errorf("name %q: got %v", name, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	dots, noDots := Names{AllowDots: true}, Names{}
	for _, test := range []struct {
		name   string
		policy Names
		ok     bool
	}{
		{"alice", noDots, true},
		{"Alice", dots, true},
		{"alice.b", dots, true},
		{"alice.b", noDots, false},
		{"o'brien", dots, true},
		{"a_b-c9", dots, true},
		{"jürgen", dots, true},
		{"ju\u0308rgen", dots, false},
		{"дмитрий", dots, true},
		{"ｗide", dots, false}, // a login folds it to another name
		{"ａｎｎ", dots, false},
		{"ſam", dots, false},
		{"an\u034fn", dots, false}, // what a login leaves out
		{"J\u030can", dots, false}, // in lower case, it composes
		{"ｎｕｌｌ", dots, false},
		{"ＥＲＲＯＲ", dots, false},
		{"blackl\u0130sted", dots, false},
		{"Ｌ-x", dots, false},
		{"Unknown", dots, true},
		{"postmaster", dots, true},
		{"nullify", dots, true},
		{"null", dots, false},
		{"NULL", dots, false},
		{"Error", dots, false},
		{"blackListed", dots, false},
		{"spamtrap", dots, false},
		{"L-staff", dots, false},
		{"l-staff", dots, false},
		{"l-", dots, false},
		{"l", dots, true},
		{"", dots, false},
		{".a", dots, false},
		{"a.", dots, false},
		{"a..b", dots, false},
		{"-a", dots, false},
		{"a b", dots, false},
		{"a@b", dots, false},
		{"a%b", dots, false},
		{"a!b", dots, false},
		{"a/b", dots, false},
		{"a\\b", dots, false},
		{"a+b", dots, false},
		{"a\x00", dots, false},
		{"a\xff", dots, false},
		{"con", dots, true}, // a device of Windows, but no file is called so
		{strings.Repeat("x", 64), dots, true},
		{strings.Repeat("x", 65), dots, false},
	} {
		err := CheckName(test.name, test.policy)
		if (err == nil) != test.ok || err != nil && mail.KindOf(err) != mail.Invalid {
			t.Errorf("%q, %+v: got %v, want ok %v", test.name, test.policy, err, test.ok)
		}
	}
}

// Who may not have a name hears which one would do, or that none does.
func TestCheckNameTells(t *testing.T) {
	for name, want := range map[string]string{
		"ｗide":      `"wide"`,
		"Ａnn":       `"ann"`,
		"ſam":       `"sam"`,
		"ｎｕｌｌ":      "reserved",
		"ＥＲＲＯＲ":     "reserved",
		"Ｌ-x":       "distribution lists",
		"e\u0301va": `"éva"`,
	} {
		err := CheckName(name, Names{})
		if e, isOurs := errors.AsType[*mail.Error](err); !isOurs || !strings.Contains(e.Text, want) {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
}

func TestPrepare(t *testing.T) {
	// RFC 4013 section 3.
	for in, want := range map[string]string{
		"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX",
		"a\u00a0b": "a b", "é": "é", "e\u0301": "é", "\u0627\u0628": "\u0627\u0628",
		// What it forbids stays as it is.
		"é\u0007": "é\u0007", "\u0627\u0031": "\u0627\u0031", "\u0627a": "\u0627a",
	} {
		if got := prepare(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Every character that Unicode 3.2 knew is prepared as by another program.
func TestPrepareOracle(t *testing.T) {
	wrong := 0
	for r := rune(0x80); r < 0x110000 && wrong < 20; r++ {
		if 0xD800 <= r && r < 0xE000 {
			continue
		}
		// U+200B stands in two tables, U+1806 is missing there, the others
		// were unknown to Unicode 3.2.
		if r == 0x200B || r == 0x1806 || stringprep.TableA1.Contains(r) {
			continue
		}
		for _, s := range []string{string(r), "a" + string(r), "\u05d0" + string(r) + "\u05d0"} {
			want, err := stringprep.SASLprep.Prepare(s)
			if err != nil {
				want = s
			}
			got := prepare(s)
			if got != want {
				t.Errorf("%q (%U): got %q, want %q (%v)", s, r, got, want, err)
				wrong++
			}
		}
	}
}
