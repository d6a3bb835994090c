package setup

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/auth"
	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/engine"
	"postrider/internal/mail"
	"postrider/internal/settings"
)

// open opens a data directory as a command does without a server.
func open(t *testing.T, set ...string) (*engine.Engine, control.Caller) {
	t.Helper()
	dir, _, err := datadir.Make(filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(t.Context(), engine.Config{Dir: dir, Quiet: true, Set: set})
	if err != nil {
		t.Fatal(err)
	}
	a := auth.New(e.Auth())
	t.Cleanup(func() {
		a.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, e.Control(a, nil, nil)
}

func TestApply(t *testing.T) {
	e, via := open(t)
	ctx := t.Context()
	p := &Plan{Domain: "Example.ORG.", Listen: []string{"192.0.2.25", "2001:db8::25"}, Data: "/data",
		Reached: []netip.Addr{netip.MustParseAddr("192.0.2.25")}, Service: &Service{Note: "n"}}
	r, err := p.Apply(ctx, via)
	if err != nil {
		t.Fatal(err)
	}
	if r.Password == "" {
		t.Errorf("no password was made for %s", r.Account)
	}
	r.Password, r.Todo, r.Records = "", nil, nil
	want := &Report{Domain: "example.org", Host: "mail.example.org", DataDirectory: "/data",
		Account: "postmaster@example.org", Service: p.Service,
		Listen: []string{"192.0.2.25", "2001:db8::25"}}
	if d := cmp.Diff(want, r); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	v := e.Settings.Current()
	if got := v.List(settings.SMTPListen); !slices.Equal(got,
		[]string{"192.0.2.25:25", "[2001:db8::25]:25"}) {
		t.Errorf("SMTP listens on %q", got)
	}

	// Again, for another name and domain: what is there stays.
	if _, err := e.Settings.Set(ctx, "smtp.own_addresses", "198.51.100.1"); err != nil {
		t.Fatal(err)
	}
	p = &Plan{Domain: "example.org", Host: "mx.example.org"}
	if r, err = p.Apply(ctx, via); err != nil {
		t.Fatal(err)
	}
	if r.Account != "postmaster@example.org" || r.Password != "" || r.Host != "mx.example.org" {
		t.Errorf("the second time: got %+v", r)
	}
	want25 := []string{"192.0.2.25:25", "[2001:db8::25]:25"}
	if got := e.Settings.Current().List(settings.SMTPListen); !slices.Equal(got, want25) {
		t.Errorf("the second time: SMTP listens on %q, want %q", got, want25)
	}
	if own := e.Settings.Current(); !own.Contains(settings.SMTPOwnAddresses,
		netip.MustParseAddr("198.51.100.1")) {
		t.Error("the second time: the server's own address is lost")
	}
	if got := r.Records[0]; got.Value != "192.0.2.25" {
		t.Errorf("the second time: got the record %+v", got)
	}
	p = &Plan{Domain: "example.net", Password: "a password of ours"}
	if r, err = p.Apply(ctx, via); err != nil || r.Password != "" {
		t.Errorf("with a password: got %+v, %v", r, err)
	}
	list, err := control.DomainList.Call(ctx, via, control.None{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range list.Domains {
		if d.Main {
			d.Name += " main"
		}
		names = append(names, d.Name)
	}
	slices.Sort(names)
	if want := []string{"example.net main", "example.org"}; !slices.Equal(names, want) {
		t.Errorf("got the domains %q, want %q", names, want)
	}
}

// A plan that cannot be carried out changes nothing.
func TestApplyNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		plan Plan
		set  []string
		want mail.Kind
	}{
		{"a setting is fixed", Plan{Domain: "example.org"}, []string{"smtp.listen=127.0.0.1:1"},
			mail.Conflict},
		{"the domain is none", Plan{Domain: "bad domain"}, nil, mail.Invalid},
		{"an address is none", Plan{Domain: "example.org", Listen: []string{"\x00"}}, nil,
			mail.Invalid},
	} {
		e, via := open(t, tt.set...)
		if r, err := tt.plan.Apply(t.Context(), via); mail.KindOf(err) != tt.want || err == nil {
			t.Errorf("%s: got %+v, %v", tt.name, r, err)
		} else if strings.Contains(err.Error(), "setup:") {
			t.Errorf("%s: the error names a file that nobody has: %v", tt.name, err)
		}
		list, err := control.DomainList.Call(t.Context(), via, control.None{}, nil)
		if err != nil || len(list.Domains) > 0 {
			t.Errorf("%s: got the domains %+v, %v", tt.name, list.Domains, err)
		}
		if name := e.Settings.Current().String(settings.ServerHostname); name == "mail.example.org" {
			t.Errorf("%s: the server calls itself %s", tt.name, name)
		}
	}
}

func TestHostName(t *testing.T) {
	for _, tt := range []struct {
		host, want string
		ok         bool
	}{
		{"", "mail.example.org", true},
		{"mx.example.org", "mx.example.org", true},
		{"bad host", "bad host", false},
		{strings.Repeat("x", 300), strings.Repeat("x", 300), false},
	} {
		got, err := HostName(context.Background(), "example.org", tt.host)
		if got != tt.want || (err == nil) != tt.ok || err != nil && mail.KindOf(err) != mail.Invalid {
			t.Errorf("%.20s: got %.20s, %v", tt.host, got, err)
		}
	}
}

func TestRecords(t *testing.T) {
	got := records("example.org", "mx.example.org", []netip.Addr{
		netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::25")})
	want := []Record{
		{"mx.example.org.", "A", "192.0.2.25"},
		{"mx.example.org.", "AAAA", "2001:db8::25"},
		{"example.org.", "MX", "10 mx.example.org."},
		{"example.org.", "TXT", `"v=spf1 mx -all"`},
		{"_dmarc.example.org.", "TXT", `"v=DMARC1; p=none; rua=mailto:postmaster@example.org"`},
		{"_submission._tcp.example.org.", "SRV", "0 1 587 mx.example.org."},
		{"_submissions._tcp.example.org.", "SRV", "0 1 465 mx.example.org."},
		{"_pop3._tcp.example.org.", "SRV", "0 1 110 mx.example.org."},
		{"_pop3s._tcp.example.org.", "SRV", "0 1 995 mx.example.org."},
		{"25.2.0.192.in-addr.arpa.", "PTR", "mx.example.org."},
		{"5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", "PTR",
			"mx.example.org."},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	none := records("example.org", "mx.example.org", nil)
	if none[0] != (Record{"mx.example.org.", "A", "the public address of this machine"}) {
		t.Errorf("without an address: got %q", none[0])
	}
}

// An address of IPv4 within IPv6 has the name that it has in IPv4.
func TestReverseName(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.25":        "25.2.0.192.in-addr.arpa.",
		"::ffff:192.0.2.25": "25.2.0.192.in-addr.arpa.",
		"::1":               "1." + strings.Repeat("0.", 31) + "ip6.arpa.",
	} {
		if got := reverseName(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestPlace(t *testing.T) {
	top := t.TempDir()
	dir, _, err := datadir.Make(filepath.Join(top, "local"))
	if err != nil {
		t.Fatal(err)
	}
	s := datadir.Search{Flag: filepath.Join(top, "named"), Local: dir.Path(),
		Installed: filepath.Join(top, "installed")}
	if got := Place(s); got != s.Flag {
		t.Errorf("named: got %s, want %s", got, s.Flag)
	}
	s.Flag = ""
	if got := Place(s); got != s.Local {
		t.Errorf("a local one is there: got %s, want %s", got, s.Local)
	}
}
