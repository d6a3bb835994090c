package auth

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"postrider/internal/store"
)

func TestMechanisms(t *testing.T) {
	tls13, tls12 := serverState(t, 0), serverState(t, 0x0303)
	for _, test := range []struct {
		name    string
		policy  Policy
		channel Channel
		want    string
	}{
		{"from afar", Policy{ClearText: ClearTextLoopback}, Channel{Remote: faraway},
			"SCRAM-SHA-256"},
		{"loopback", Policy{ClearText: ClearTextLoopback}, Channel{Remote: here},
			"SCRAM-SHA-256 PLAIN LOGIN"},
		{"SHA-1", Policy{ClearText: ClearTextNever, SCRAMSHA1: true}, Channel{Remote: here},
			"SCRAM-SHA-256 SCRAM-SHA-1"},
		{"TLS 1.3", Policy{}, Channel{Remote: faraway, TLS: tls13},
			"SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"},
		{"no binding", Policy{NoBinding: true}, Channel{Remote: faraway, TLS: tls13},
			"SCRAM-SHA-256 PLAIN LOGIN"},
		{"TLS 1.2", Policy{}, Channel{Remote: faraway, TLS: tls12},
			"SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := New(Config{Policy: func() Policy { return test.policy }})
			list := a.Mechanisms(&test.channel)
			if got := strings.Join(list, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			// What is announced can be started, in any case; all else cannot.
			for _, m := range []string{
				"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN",
				"SCRAM-SHA-1-PLUS", "CRAM-MD5", "", "PLAIN ", strings.Repeat("PLAIN", 5),
			} {
				x, err := a.Start(&test.channel, strings.ToLower(m))
				if want := slices.Contains(list, m); (err == nil) != want || (x != nil) != want {
					t.Errorf("%q: got %v, announced %v", m, err, want)
				}
			}
		})
	}
	a := New(Config{})
	if _, err := a.Start(&Channel{Remote: faraway}, "PLAIN"); !errors.Is(err, ErrPlaintext) {
		t.Errorf("got %v, want %v", err, ErrPlaintext)
	}
}

// A dialogue is what a client sends, its lines in order; - is no initial
// response. It is split at |, and @ stands for NUL.
func TestPlainAndLogin(t *testing.T) {
	a, _, _ := newTest(t, nil)
	for _, test := range []struct {
		name, mechanism, client, server string
		want                            error
	}{
		{"initial response", "PLAIN", "@alice@" + rightPassword, "", nil},
		{"challenge", "PLAIN", "-|@alice@" + rightPassword, "", nil},
		{"own authzid", "PLAIN", "alice@alice@" + rightPassword, "", nil},
		{"authzid in other case", "PLAIN", "Alice@alice@" + rightPassword, "", nil},
		{"other authzid", "PLAIN", "bob@alice@" + rightPassword, "", ErrCredentials},
		{"wrong password", "PLAIN", "@alice@x", "", ErrCredentials},
		{"unknown", "PLAIN", "@mallory@x", "", ErrCredentials},
		{"APOP required", "PLAIN", "@dave@" + rightPassword, "", ErrPlaintext},
		{"no NUL", "PLAIN", "alice", "", ErrSyntax},
		{"one NUL", "PLAIN", "alice@" + rightPassword, "", ErrSyntax},
		{"three NULs", "PLAIN", "@alice@" + rightPassword + "@", "", ErrSyntax},
		{"no user", "PLAIN", "@@" + rightPassword, "", ErrSyntax},
		{"no password", "PLAIN", "@alice@", "", ErrSyntax},
		{"empty", "PLAIN", "", "", ErrSyntax},
		{"no UTF-8", "PLAIN", "@alice@\xff", "", ErrSyntax},
		{"too long", "PLAIN", "@alice@" + strings.Repeat("x", maxResponse), "", ErrSyntax},
		{"asked", "LOGIN", "-|alice|" + rightPassword, "Username:|Password:", nil},
		{"initial name", "LOGIN", "alice|" + rightPassword, "Password:", nil},
		{"wrong", "LOGIN", "-|alice|x", "Username:|Password:", ErrCredentials},
		{"empty password", "LOGIN", "alice|", "Password:", ErrCredentials},
		{"empty name", "LOGIN", "-|", "Username:", ErrSyntax},
		{"APOP required", "LOGIN", "dave|" + rightPassword, "Password:", ErrPlaintext},
	} {
		t.Run(test.mechanism+" "+test.name, func(t *testing.T) {
			a.guard = newGuard()
			x, err := a.Start(&Channel{Remote: here}, test.mechanism)
			if err != nil {
				t.Fatal(err)
			}
			var id *Identity
			var said []string
			for line := range strings.SplitSeq(test.client, "|") {
				if err != nil || id != nil {
					t.Fatalf("ended before %q: %v", line, err)
				}
				var response, challenge []byte
				if line != "-" {
					response = append([]byte{}, strings.ReplaceAll(line, "@", "\x00")...)
				}
				challenge, id, err = x.Next(response)
				if len(challenge) > 0 {
					said = append(said, string(challenge))
				}
			}
			if !errors.Is(err, test.want) || (err == nil) != (id != nil) {
				t.Errorf("got %v, %v, want error %v", id, err, test.want)
			}
			if got := strings.Join(said, "|"); got != test.server {
				t.Errorf("got challenges %q, want %q", got, test.server)
			}
			if id != nil && (id.Method != test.mechanism || id.Account != 1) {
				t.Errorf("got %+v", id)
			}
			if _, _, err := x.Next([]byte("x")); !errors.Is(err, ErrSyntax) {
				t.Errorf("after the end: got %v, want %v", err, ErrSyntax)
			}
		})
	}
}

// No sequence of responses makes an identity without a password, or a panic.
func FuzzExchange(f *testing.F) {
	f.Add(uint8(0), []byte("\x00alice\x00wrong"), []byte(""), []byte(""))
	f.Add(uint8(1), []byte("alice"), []byte("wrong"), []byte(""))
	for i := range scramVectors {
		v := &scramVectors[i]
		f.Add(uint8(2+i), []byte(v.client[0]), []byte(v.client[1]), []byte(""))
	}
	f.Add(uint8(4), []byte("p=tls-exporter,a=alice,n=alice,r=abc"), []byte("c=,r=,p="), []byte("x"))
	f.Add(uint8(2), []byte("y,,n=a=2Cb=3D,r=abc,x=1"), []byte("c=eSws,r=abc,p=AAAA"), []byte{})
	mechanisms := []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS"}
	a, s, _ := newTest(f, func(c *Config) { // without delays, which soon are longer than a run
		c.Policy = func() Policy { return Policy{SCRAMSHA1: true} }
	})
	for id, creds := range s.creds { // hashing is slow, and not what is fuzzed
		s.creds[id] = slices.DeleteFunc(slices.Clone(creds),
			func(c store.Credential) bool { return c.Kind == kindArgon2 })
	}
	a.nobody.memoryKiB = 8
	channel := &Channel{Remote: here, TLS: serverState(f, 0)}
	f.Fuzz(func(t *testing.T, m uint8, r1, r2, r3 []byte) {
		x, err := a.Start(channel, mechanisms[int(m)%len(mechanisms)])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range [][]byte{r1, r2, r3, {}} {
			challenge, id, err := x.Next(r)
			if id != nil {
				t.Fatalf("got in as %+v", id)
			}
			if err != nil {
				if challenge != nil {
					t.Fatalf("got both %q and %v", challenge, err)
				}
				return
			}
		}
	})
}
