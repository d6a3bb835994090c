package auth

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	xdg "github.com/xdg-go/scram"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// The examples of RFC 5802 section 5 and RFC 7677 section 3: user "user",
// password "pencil".
var scramVectors = []struct {
	name, mechanism string
	family          *scramFamily
	salt, nonce     string
	client          [2]string
	server          [2]string
}{
	{
		name: "RFC 5802", mechanism: "SCRAM-SHA-1", family: sha1Family,
		salt: "QSXCR+Q6sek8bf92", nonce: "3rfcNHYJY1ZVvWVs7j",
		client: [2]string{
			"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
			"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j," +
				"p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		},
		server: [2]string{
			"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
			"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
		},
	},
	{
		name: "RFC 7677", mechanism: "SCRAM-SHA-256", family: sha256Family,
		salt: "W22ZaJ0SNY7soEsUEjb6gQ==", nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		client: [2]string{
			"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
				"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		},
		server: [2]string{
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
				"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
		},
	},
}

func TestScramVectors(t *testing.T) {
	for _, v := range scramVectors {
		t.Run(v.name, func(t *testing.T) {
			a, s, _ := newTest(t, nil)
			salt, err := base64.StdEncoding.DecodeString(v.salt)
			if err != nil {
				t.Fatal(err)
			}
			keys, err := deriveScramKeys(v.family, "pencil", salt, 4096)
			if err != nil {
				t.Fatal(err)
			}
			s.accounts["user@example.org"] = &store.Account{
				ID: 9, Address: mail.Address{Local: "user", Domain: "example.org"},
				Enabled: true, Login: true, Version: 7,
			}
			s.creds[9] = []store.Credential{
				{Kind: v.family.kind, Data: []byte(keys.encode(v.family))},
			}
			a.nonce = func() string { return v.nonce }
			x, err := a.Start(&Channel{Remote: faraway}, v.mechanism)
			if err != nil {
				t.Fatal(err)
			}
			for i := range v.client {
				got, id, err := x.Next([]byte(v.client[i]))
				if err != nil || id != nil || string(got) != v.server[i] {
					t.Fatalf("got %q, %v, %v\nwant %q", got, id, err, v.server[i])
				}
			}
			got, id, err := x.Next([]byte{})
			if err != nil || len(got) > 0 || id == nil || id.Account != 9 || id.Version != 7 ||
				id.Method != v.mechanism {
				t.Fatalf("got %q, %+v, %v", got, id, err)
			}
			if _, _, err := x.Next([]byte{}); !errors.Is(err, ErrSyntax) {
				t.Errorf("after the end: got %v, want %v", err, ErrSyntax)
			}
		})
	}
}

// converse runs a foreign client against an exchange, to the end.
func converse(x Exchange, c *xdg.ClientConversation) (*Identity, error) {
	response, err := c.Step("")
	if err != nil {
		return nil, err
	}
	for range 4 {
		challenge, id, err := x.Next([]byte(response))
		if err != nil {
			return nil, err
		}
		if id != nil {
			if !c.Valid() {
				return nil, errors.New("the client does not trust the server")
			}
			return id, nil
		}
		if response, err = c.Step(string(challenge)); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the exchange does not end")
}

func TestScramForeignClient(t *testing.T) {
	server13, client13, der := handshake(t, tls.VersionTLS13)
	server12, client12, _ := handshake(t, tls.VersionTLS12)
	a, _, _ := newTest(t, func(c *Config) {
		c.Certificate = func(string) []byte { return der }
	})
	bound := func(b xdg.ChannelBinding, err error) *xdg.ChannelBinding {
		if err != nil {
			t.Fatal(err)
		}
		return &b
	}
	exporter13 := bound(xdg.NewTLSExporterBinding(&client13))
	exporter12 := bound(xdg.NewTLSExporterBinding(&client12))
	endpoint := bound(xdg.NewTLSServerEndpointBinding(&client13))
	unique12 := bound(xdg.NewTLSUniqueBinding(client12.TLSUnique), nil)
	unique13 := bound(xdg.NewTLSUniqueBinding([]byte("anything")), nil)
	advertise := &xdg.ChannelBinding{} // the flag y
	sha256, sha1 := xdg.HashGeneratorFcn(xdg.SHA256), xdg.HashGeneratorFcn(xdg.SHA1)
	for _, test := range []struct {
		name, mechanism         string
		hash                    xdg.HashGeneratorFcn
		state                   *tls.ConnectionState
		user, authzid, password string
		binding                 *xdg.ChannelBinding
		want                    error
	}{
		{"clear", mechSHA256, sha256, nil, "alice", "", rightPassword, nil, nil},
		{"SHA-1", mechSHA1, sha1, nil, "alice@example.org", "", rightPassword, nil, nil},
		{"own authzid", mechSHA256, sha256, nil, "alice", "Alice@example.org", rightPassword,
			nil, nil},
		{"other authzid", mechSHA256, sha256, nil, "alice", "bob", rightPassword, nil,
			ErrCredentials},
		{"wrong password", mechSHA256, sha256, nil, "alice", "", "x", nil, ErrCredentials},
		{"unknown", mechSHA256, sha256, nil, "mallory", "", rightPassword, nil, ErrCredentials},
		{"disabled", mechSHA256, sha256, nil, "bob", "", rightPassword, nil, ErrCredentials},
		{"no login", mechSHA256, sha256, nil, "carol", "", rightPassword, nil, ErrCredentials},
		{"APOP required", mechSHA256, sha256, nil, "dave", "", rightPassword, nil, nil},
		{"no keys", mechSHA256, sha256, nil, "eve", "", rightPassword, nil, ErrCredentials},
		{"TLS without binding", mechSHA256, sha256, &server13, "alice", "", rightPassword, nil,
			nil},
		{"exporter", mechSHA256Plus, sha256, &server13, "alice", "", rightPassword, exporter13,
			nil},
		{"exporter, TLS 1.2", mechSHA256Plus, sha256, &server12, "alice", "", rightPassword,
			exporter12, nil},
		{"end point", mechSHA256Plus, sha256, &server13, "alice", "", rightPassword, endpoint,
			nil},
		{"unique, TLS 1.2", mechSHA256Plus, sha256, &server12, "alice", "", rightPassword,
			unique12, nil},
		{"unique, TLS 1.3", mechSHA256Plus, sha256, &server13, "alice", "", rightPassword,
			unique13, ErrCredentials},
		{"another connection's exporter", mechSHA256Plus, sha256, &server13, "alice", "",
			rightPassword, exporter12, ErrCredentials},
		{"binding without -PLUS", mechSHA256, sha256, &server13, "alice", "", rightPassword,
			exporter13, ErrCredentials},
		{"-PLUS without binding", mechSHA256Plus, sha256, &server13, "alice", "", rightPassword,
			nil, ErrCredentials},
		{"downgraded", mechSHA256, sha256, &server13, "alice", "", rightPassword, advertise,
			ErrCredentials},
		{"nothing to downgrade", mechSHA256, sha256, nil, "alice", "", rightPassword, advertise,
			nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, err := test.hash.NewClient(test.user, test.password, test.authzid)
			if err != nil {
				t.Fatal(err)
			}
			conversation := client.NewConversation()
			switch {
			case test.binding == advertise:
				conversation = client.NewConversationAdvertisingChannelBinding()
			case test.binding != nil:
				conversation = client.NewConversationWithChannelBinding(*test.binding)
			}
			a.guard = newGuard()
			x, err := a.Start(&Channel{Remote: faraway, TLS: test.state}, test.mechanism)
			if err != nil {
				t.Fatal(err)
			}
			id, err := converse(x, conversation)
			if !errors.Is(err, test.want) || (err == nil) != (id != nil) {
				t.Fatalf("got %+v, %v, want error %v", id, err, test.want)
			}
			if id != nil && id.Method != test.mechanism {
				t.Errorf("got method %q, want %q", id.Method, test.mechanism)
			}
		})
	}
}

// The salt of a user who does not exist is as constant as a real one.
func TestScramUnknownUser(t *testing.T) {
	challenge := func(a *Authenticator, user string) string {
		t.Helper()
		x, err := a.Start(&Channel{Remote: here}, mechSHA256)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := x.Next([]byte("n,,n=" + user + ",r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		_, saltAndRounds, _ := strings.Cut(string(got), ",s=")
		return saltAndRounds
	}
	a, _, _ := newTest(t, nil)
	b, _, _ := newTest(t, nil) // after a restart
	c, _, _ := newTest(t, func(c *Config) { c.Secret = []byte("another") })
	first := challenge(a, "mallory")
	for name, again := range map[string]string{
		"again":         challenge(a, "mallory"),
		"other case":    challenge(a, "Mallory"),
		"whole address": challenge(a, "mallory@example.org"),
		"restarted":     challenge(b, "mallory"),
	} {
		if again != first {
			t.Errorf("%s: got %s, want %s", name, again, first)
		}
	}
	if challenge(a, "trent") == first || challenge(c, "mallory") == first {
		t.Error("the salt depends on user and secret too little")
	}
	if got, want := len(first), len(challenge(a, "alice")); got != want {
		t.Errorf("made-up salt and rounds have %d characters, real ones %d", got, want)
	}
}

func TestScramSyntax(t *testing.T) {
	a, _, _ := newTest(t, nil)
	for _, first := range []string{
		"n", "n,", "n,,", "n,,n=alice", "n,,n=alice,", "n,,n=alice,r=", "n,,r=abc,n=alice",
		"x,,n=alice,r=abc", "p,,n=alice,r=abc", "p=,,n=alice,r=abc", "nn,,n=alice,r=abc",
		"n,b=alice,n=alice,r=abc", "n,a=,n=alice,r=abc", "n,a=a=b,n=alice,r=abc",
		"n,,m=x,n=alice,r=abc", "n,,n=alice,r=abc,m=x", "n,,n=alice,r=abc,x",
		"n,,n=,r=abc", "n,,n=a=2c,r=abc", "n,,n=a=,r=abc", "n,,n=a\x00,r=abc",
		"n,,n=alice,r=a c", "n,,n=alice,r=\xff", "n,,n=\xff,r=abc", "",
		"n,,n=alice,r=" + strings.Repeat("x", maxNonce+1),
		strings.Repeat("n", maxResponse+1),
	} {
		x, err := a.Start(&Channel{Remote: here}, mechSHA256)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := x.Next([]byte(first)); !errors.Is(err, ErrSyntax) {
			t.Errorf("first message %q: got %v, want %v", first, err, ErrSyntax)
		}
		if _, _, err := x.Next([]byte("n,,n=alice,r=abc")); !errors.Is(err, ErrSyntax) {
			t.Errorf("after %q: got %v, want %v", first, err, ErrSyntax)
		}
	}
	proof := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for final, want := range map[string]error{
		"":                                      ErrSyntax,
		"c=biws,r=NONCE":                        ErrSyntax,
		"c=biws,r=NONCE,p=":                     ErrSyntax,
		"c=biws,r=NONCE,p=AAAA":                 ErrSyntax,
		"c=biws,r=NONCE,p=" + proof + "x":       ErrSyntax,
		"r=NONCE,c=biws,p=" + proof:             ErrSyntax,
		"c=b,r=NONCE,p=" + proof:                ErrSyntax,
		"c=biws,r=NONCE,m=x,p=" + proof:         ErrSyntax,
		"c=biws,r=NONCE,p=" + proof:             ErrCredentials,
		"c=biws,r=NONCE,x=extension,p=" + proof: ErrCredentials,
		"c=biws,r=abc,p=" + proof:               ErrCredentials,
		"c=eSws,r=NONCE,p=" + proof:             ErrCredentials,
	} {
		a.guard = newGuard()
		a.nonce = func() string { return "def" }
		x, _ := a.Start(&Channel{Remote: here}, mechSHA256)
		if _, _, err := x.Next([]byte("n,,n=alice,r=abc")); err != nil {
			t.Fatal(err)
		}
		final = strings.ReplaceAll(final, "NONCE", "abcdef")
		if _, _, err := x.Next([]byte(final)); !errors.Is(err, want) {
			t.Errorf("final message %q: got %v, want %v", final, err, want)
		}
	}
}

func TestSaslName(t *testing.T) {
	for in, want := range map[string]string{
		"alice": "alice", "a=2Cb": "a,b", "=3D=2C": "=,", "a=3D2C": "a=2C", "é": "é",
		"": "", "a=b": "", "a=2c": "", "=": "", "a\x00": "",
	} {
		if got, ok := decodeSaslName(in); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", in, got, ok, want)
		}
	}
}

func TestScramKeysEncoding(t *testing.T) {
	keys, err := newScramKeys(sha256Family, "pencil", 0)
	if err != nil {
		t.Fatal(err)
	}
	text := keys.encode(sha256Family)
	if !strings.HasPrefix(text, "SCRAM-SHA-256$20000:") {
		t.Errorf("got %q", text)
	}
	again, err := parseScramKeys(sha256Family, text)
	if err != nil || again.encode(sha256Family) != text {
		t.Errorf("got %v, %v, want %s", again, err, text)
	}
	for _, bad := range []string{
		"", "SCRAM-SHA-256", text[1:], text[:len(text)-8], text + "$", "x" + text,
		strings.Replace(text, "20000", "0", 1), strings.Replace(text, "20000", "99999999", 1),
		strings.Replace(text, ":", "", 1), strings.Replace(text, "20000", "many", 1),
	} {
		if _, err := parseScramKeys(sha256Family, bad); mail.KindOf(err) != mail.Damaged {
			t.Errorf("%q: got %v, want kind Damaged", bad, err)
		}
	}
}
