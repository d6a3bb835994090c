package settings

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/mail"
)

var update = flag.Bool("update", false, "rewrite golden files")

// memory is a database of settings.
type memory struct {
	rows map[string]string
	fail error
}

func (m *memory) Settings(context.Context) (map[string]string, error) {
	return maps.Clone(m.rows), m.fail
}

func (m *memory) WriteSettings(_ context.Context, changes map[string]*string) error {
	if m.fail != nil {
		return m.fail
	}
	for name, v := range changes {
		if v == nil {
			delete(m.rows, name)
		} else {
			m.rows[name] = *v
		}
	}
	return nil
}

// reverse is a Sealer that hides nothing from a test.
type reverse struct{}

func (reverse) Seal(plain, ctx []byte) []byte {
	out := append(slices.Clone(plain), ctx...)
	slices.Reverse(out)
	return out
}

func (reverse) Open(sealed, ctx []byte) ([]byte, error) {
	out := slices.Clone(sealed)
	slices.Reverse(out)
	plain, ok := bytes.CutSuffix(out, ctx)
	if !ok {
		return nil, errors.New("other context")
	}
	return plain, nil
}

func attached(t *testing.T, rows map[string]string) (*Registry, *memory) {
	t.Helper()
	r, m := New(), &memory{rows: rows}
	if rows == nil {
		m.rows = map[string]string{}
	}
	problems, err := r.Attach(t.Context(), m, reverse{})
	if err != nil || len(problems) != 0 {
		t.Fatalf("attach: %v, %v", problems, err)
	}
	return r, m
}

// TestTable holds every key to the rules of the registry.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for i := range table {
		k := &table[i]
		if k.Name == "" {
			t.Errorf("key %d is missing in the table", i)
			continue
		}
		if seen[k.Name] {
			t.Errorf("%s stands twice", k.Name)
		}
		seen[k.Name] = true
		if strings.Count(k.Name, ".") != 1 || k.Name != strings.ToLower(k.Name) {
			t.Errorf("%s: want section.name in lower case", k.Name)
		}
		s, wrong := k.parse(k.Default)
		if wrong != "" {
			t.Errorf("%s: default %q %s", k.Name, k.Default, wrong)
		}
		if s.text != k.Default {
			t.Errorf("%s: default %q is not canonical, want %q", k.Name, k.Default, s.text)
		}
		if k.Help == "" || !strings.HasSuffix(k.Help, ".") {
			t.Errorf("%s: help %q is no sentence", k.Name, k.Help)
		}
		if (k.Type == Enum) != (k.Choices != nil) || k.Boot && !k.Restart {
			t.Errorf("%s: contradicting description", k.Name)
		}
		if (k.Min != 0 || k.Max != 0) && k.Type != Int && k.Type != Size && k.Type != Duration {
			t.Errorf("%s: bounds on a %s", k.Name, k.Type)
		}
	}
	section := ""
	for name := range seen {
		delete(seen, name)
	}
	for i := range table {
		if s := table[i].Section(); s != section {
			if seen[s] {
				t.Errorf("section %s does not stand together", s)
			}
			section, seen[s] = s, true
		}
	}
}

// TestKeyTypes reads the constants: each must be of the type that its getter
// serves, and its comment must name its key.
func TestKeyTypes(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "keys.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]Type{
		"BoolKey": {Bool}, "IntKey": {Int}, "SizeKey": {Size}, "DurationKey": {Duration},
		"StringKey": {String, Enum, Secret}, "ListKey": {Addresses, Strings},
		"PrefixKey": {Prefixes},
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name == "count" {
			return true
		}
		k := &table[n]
		n++
		if typ := spec.Type.(*ast.Ident).Name; !slices.Contains(want[typ], k.Type) {
			t.Errorf("%s is a %s, but %s a %s", spec.Names[0], typ, k.Name, k.Type)
		}
		if got := strings.TrimSpace(spec.Comment.Text()); got != k.Name {
			t.Errorf("%s has comment %q want %q", spec.Names[0], got, k.Name)
		}
		return true
	})
	if n != count {
		t.Errorf("got %d constants want %d", n, count)
	}
}

func TestDefaults(t *testing.T) {
	v := New().Current()
	if got := v.List(SMTPListen); !slices.Equal(got, []string{"127.0.0.1:2525"}) {
		t.Errorf("smtp.listen: got %q", got)
	}
	if got := v.Size(SMTPMaxSize); got != 64<<20 {
		t.Errorf("smtp.max_size: got %d", got)
	}
	if got := v.Duration(AuthCacheTime); got != 10*time.Minute {
		t.Errorf("auth.cache_time: got %v", got)
	}
	if got := v.Duration(POPLoginDelay); got != 0 {
		t.Errorf("pop.login_delay: got %v", got)
	}
	if v.Bool(AuthSCRAMSHA1) || !v.Bool(POPXTNDXmit) {
		t.Error("wrong booleans")
	}
	if got := v.String(AuthPlaintext); got != "loopback" {
		t.Errorf("auth.plaintext: got %q", got)
	}
	for ip, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"::2": false, "128.0.0.1": false,
	} {
		if got := v.Contains(LimitsExempt, netip.MustParseAddr(ip)); got != want {
			t.Errorf("limits.exempt contains %s: got %v", ip, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		_ = v.Duration(SMTPDataTimeout)
		_ = v.Contains(LimitsExempt, netip.IPv4Unspecified())
	}); n != 0 {
		t.Errorf("getters allocate %v times", n)
	}
}

func TestParse(t *testing.T) {
	size := &Key{Type: Size, Zero: "none", Min: 1024, Max: 1 << 40}
	dur := &Key{Type: Duration, Max: int64(100 * 24 * time.Hour)}
	num := &Key{Type: Int, Min: -5, Max: 10}
	list := &Key{Type: Addresses}
	nets := &Key{Type: Prefixes}
	for _, c := range []struct {
		key        *Key
		in, want   string
		wantNumber int64
		wrong      string
	}{
		{size, "64M", "64M", 64 << 20, ""},
		{size, "65536k", "64M", 64 << 20, ""},
		{size, "1 GiB", "1G", 1 << 30, ""},
		{size, "1500", "1500", 1500, ""},
		{size, "0", "", 0, `is too small, and stands for nothing else: write "none" if it is meant`},
		{size, "None", "none", 0, ""},
		{size, "1023", "", 0, "is too small"},
		{size, "2T", "", 0, "is too large"},
		{size, "99999999999T", "", 0, "is not a size"},
		{size, "-1M", "", 0, "is not a size"},
		{size, "1.5M", "", 0, "is not a size"},
		{size, "", "", 0, "is not a size"},
		{size, "M", "", 0, "is not a size"},
		{dur, "5m", "5m", int64(5 * time.Minute), ""},
		{dur, "90s", "1m30s", int64(90 * time.Second), ""},
		{dur, "1h 30m", "1h30m", int64(90 * time.Minute), ""},
		{dur, "2w", "14d", int64(14 * 24 * time.Hour), ""},
		{dur, "250ms", "250ms", int64(250 * time.Millisecond), ""},
		{dur, "0", "0s", 0, ""},
		{dur, "5", "", 0, "is not a duration"},
		{dur, "5 parsecs", "", 0, "is not a duration"},
		{dur, "-5m", "", 0, "is not a duration"},
		{dur, "9999999999999w", "", 0, "is not a duration"},
		{dur, "101d", "", 0, "is too large"},
		{num, " 7 ", "7", 7, ""},
		{num, "-5", "-5", -5, ""},
		{num, "-6", "", 0, "is too small"},
		{num, "1e1", "", 0, "is not a number"},
		{list, "127.0.0.1:25,[::1]:25", "127.0.0.1:25, [::1]:25", 0, ""},
		{list, ":25, unix:run/lmtp.sock,", ":25, unix:run/lmtp.sock", 0, ""},
		{list, "", "", 0, ""},
		{list, "25", "", 0, `"25" is not host:port`},
		{list, ":25, ::1:25", "", 0, `"::1:25" is not host:port`},
		{list, ":smtp", "", 0, `":smtp" has no port number from 0 to 65535`},
		{list, ":65536", "", 0, `":65536" has no port number from 0 to 65535`},
		{list, "unix:", "", 0, `"unix:" has no path`},
		{list, "a b:25", "", 0, `"a b:25" has no valid host`},
		{nets, "10.1.2.3/8, ::1", "10.0.0.0/8, ::1", 0, ""},
		{nets, "::ffff:10.1.2.3", "10.1.2.3", 0, ""},
		{nets, "::ffff:10.0.0.0/104", "10.0.0.0/8", 0, ""},
		{nets, "10.1.2.3/33", "", 0, `"10.1.2.3/33" is not a network`},
		{nets, "fe80::1%eth0", "", 0, `"fe80::1%eth0" is not a network`},
		{&Key{Type: Bool}, "Yes", "true", 1, ""},
		{&Key{Type: Bool}, "off", "false", 0, ""},
		{&Key{Type: Bool}, "2", "", 0, "is neither yes nor no"},
		{&Key{Type: Enum, Choices: []string{"a", "b"}}, "c", "", 0, "is not one of the choices"},
		{&Key{Type: String}, "a\nb", "", 0, "contains a control character"},
		{&Key{Type: String}, strings.Repeat("x", maxText+1), "", 0, "too long"},
		{&table[ServerHostname], "mail.example.org", "mail.example.org", 0, ""},
		{&table[ServerHostname], "mail..org", "", 0, "is not a host name"},
		{&table[SMTPSessions], "0", "", 0,
			`is too small, and stands for nothing else: write "none" if it is meant`},
		{&table[POPExpire], "0d", "", 0,
			`is too small, and stands for nothing else: write "never" if it is meant`},
		{&table[POPExpire], "Never", "never", 0, ""},
		{&table[LogLevels], "smtp=4,pop=2", "smtp=4, pop=2", 0, ""},
		{&table[LogLevels], "nonsense=5", "", 0, `"nonsense=5" is no component; there are ` +
			strings.Join(LogComponents(), " ")},
		{&table[LogLevels], "smtp=6", "", 0,
			`"smtp=6" is not component=level with a level from 1 to 5`},
	} {
		s, wrong := c.key.parse(c.in)
		if wrong != c.wrong || s.text != c.want || s.n != c.wantNumber {
			t.Errorf("%s %.40q: got %q, %d, %q want %q, %d, %q",
				c.key.Type, c.in, s.text, s.n, wrong, c.want, c.wantNumber, c.wrong)
		}
		if wrong == "" {
			if again, w := c.key.parse(s.text); w != "" || again.text != s.text {
				t.Errorf("%q is not canonical: %q %q", s.text, again.text, w)
			}
		}
	}
}

func TestOrderOfSources(t *testing.T) {
	r, _ := attached(t, map[string]string{"pop.timeout": "11m", "smtp.errors": "5"})
	check := func(name, value, source, where string) {
		t.Helper()
		e, err := r.Explain(name)
		if err != nil || e.Value != value || e.Source != source || e.Where != where {
			t.Errorf("%s: got %q from %s (%s) %v, want %q from %s (%s)",
				name, e.Value, e.Source, e.Where, err, value, source, where)
		}
	}
	check("smtp.max_hops", "50", "default", "default")
	check("pop.timeout", "11m", "database", "database")
	if err := r.LoadFile("p.toml", []byte("\n[pop]\ntimeout = '12m'\n")); err != nil {
		t.Fatal(err)
	}
	check("pop.timeout", "12m", "file", "p.toml:3")
	if err := r.SetFlags([]string{"pop.timeout=13m", "pop.timeout=14m"}); err != nil {
		t.Fatal(err)
	}
	check("pop.timeout", "14m", "command line", "--set")
	if got := r.Current().Duration(POPTimeout); got != 14*time.Minute {
		t.Errorf("got %v", got)
	}
	if e, _ := r.Explain("pop.timeout"); !e.Fixed || e.Stored != "11m" || e.Default != "10m" {
		t.Errorf("explanation: %+v", e)
	}
	for _, c := range []struct{ name, want string }{
		{"pop.timeout", "pop.timeout is fixed by --set on the server's command line"},
		{"store.volumes", "store.volumes is needed before the database is open; " +
			"write it into the configuration file"},
	} {
		if _, err := r.Set(t.Context(), c.name, "15m"); mail.KindOf(err) != mail.Conflict ||
			err.Error() != c.want {
			t.Errorf("set %s: got %v", c.name, err)
		}
	}
	r.SetFlags(nil)
	_, err := r.Reset(t.Context(), "pop.timeout")
	if mail.KindOf(err) != mail.Conflict ||
		err.Error() != "pop.timeout is fixed by p.toml:3; change it there" {
		t.Errorf("reset: got %v", err)
	}
	r.LoadFile("p.toml", nil)
	check("pop.timeout", "11m", "database", "database")
}

func TestFlagErrors(t *testing.T) {
	r := New()
	for flag, want := range map[string]string{
		"smtp.listen": "--set smtp.listen: want --set KEY=VALUE",
		"smtp.listn=:25": `--set: "smtp.listn" is no setting; ` +
			`did you mean "smtp.listen"? ("postrider settings" lists all)`,
		"smtp.max_size=big": `--set smtp.max_size: "big" is not a size; want bytes, ` +
			`or a number with K, M, G or T such as 64M from 64K to 1T, or none`,
		"metrics.token=a\x01b": "--set metrics.token: the value contains a control character",
	} {
		err := r.SetFlags([]string{"smtp.max_hops=7", flag})
		if mail.KindOf(err) != mail.Invalid || err.Error() != want {
			t.Errorf("%s: got %v want %s", flag, err, want)
		}
	}
	if got := r.Current().Int(SMTPMaxHops); got != 50 {
		t.Errorf("a refused command line changed smtp.max_hops to %d", got)
	}
}

func TestSuggestions(t *testing.T) {
	for in, want := range map[string]string{
		"smtp.listn": "smtp.listen", "stmp.listen": "smtp.listen", "SMTP.Listen": "smtp.listen",
		"max_size": "smtp.max_size", "smtp.max-size": "smtp.max_size",
		"smtp.maxsize": "smtp.max_size", "pop3.listen": "pop.listen", "log.levls": "log.levels",
		"completely.different": "", "": "", "x": "",
	} {
		if got := nearest(in); got != want {
			t.Errorf("%s: got %q want %q", in, got, want)
		}
	}
	if got := unknown(strings.Repeat("x", 1000)); len(got) > 100 {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestSetAndReset(t *testing.T) {
	r, m := attached(t, nil)
	r.Started()
	var heard []string
	cancel := r.Subscribe(func(from, to *Values) { heard = append(heard, to.Changed(from)...) })
	ctx := t.Context()
	set := func(name, text string, want *Change) {
		t.Helper()
		got, err := r.Set(ctx, name, text)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("set %s: %v %s", name, err, cmp.Diff(want, got))
		}
	}
	set("smtp.max_size", "1024K", &Change{Name: "smtp.max_size", Old: "64M", New: "1M"})
	set("smtp.max_size", "1M", nil)
	set("smtp.listen", ":25", &Change{Name: "smtp.listen", Old: "127.0.0.1:2525", New: ":25",
		Restart: true})
	set("metrics.token", "hunter2", &Change{Name: "metrics.token", New: masked})
	if got := r.Current().String(MetricsToken); got != "hunter2" {
		t.Errorf("token: got %q", got)
	}
	want := []string{"smtp.max_size", "smtp.listen", "metrics.token"}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %q want %q", heard, want)
	}
	if got := r.NeedRestart(); !slices.Equal(got, []string{"smtp.listen"}) {
		t.Errorf("need restart: %q", got)
	}
	if e, _ := r.Explain("smtp.listen"); !e.Pending {
		t.Error("smtp.listen is not pending")
	}
	if e, _ := r.Explain("metrics.token"); e.Value != masked {
		t.Errorf("token shown as %q", e.Value)
	}
	if strings.Contains(m.rows["metrics.token"], "hunter2") {
		t.Error("the secret is in the database in clear")
	}
	again, _ := attached(t, m.rows)
	if diff := again.Current().Changed(r.Current()); len(diff) != 0 {
		t.Errorf("read again, these differ: %q", diff)
	}
	cancel()
	if c, err := r.Reset(ctx, "smtp.max_size"); err != nil || !c.Reset || c.New != "64M" {
		t.Errorf("reset: %+v %v", c, err)
	}
	if c, err := r.Reset(ctx, "smtp.max_size"); err != nil || c != nil {
		t.Errorf("second reset: %+v %v", c, err)
	}
	if len(heard) != 3 {
		t.Errorf("heard after cancel: %q", heard)
	}
	m.fail = errors.New("disk full")
	if _, err := r.Set(ctx, "smtp.max_hops", "9"); !errors.Is(err, m.fail) {
		t.Errorf("failing database: %v", err)
	}
	if r.Current().Int(SMTPMaxHops) != 50 {
		t.Error("a change that failed took effect")
	}
	if _, err := r.Set(ctx, "smtp.max_hop", "9"); mail.KindOf(err) != mail.NotFound {
		t.Errorf("unknown key: %v", err)
	}
	if _, err := r.Set(ctx, "smtp.max_hops", "x"); mail.KindOf(err) != mail.Invalid {
		t.Errorf("wrong value: %v", err)
	}
	if _, err := New().Set(ctx, "smtp.max_hops", "9"); mail.KindOf(err) != mail.Conflict {
		t.Errorf("no database: %v", err)
	}
}

// Several keys change together or not at all, and a guard may refuse.
func TestSetAll(t *testing.T) {
	ctx := t.Context()
	r, m := attached(t, nil)
	if err := r.SetFlags([]string{"pop.errors=7"}); err != nil {
		t.Fatal(err)
	}
	refusal := errors.New("these do not fit")
	var tried []string
	r.Guard("tls.", func(from, to *Values) error {
		tried = append(tried, from.Changed(to)...)
		if len(to.List(TLSCertificate)) != len(to.List(TLSKey)) {
			return refusal
		}
		return nil
	})
	hops := Assignment{"smtp.max_hops", "9"}
	tests := []struct {
		name string
		list []Assignment
		ok   func(error) bool
	}{
		{"unknown", []Assignment{hops, {"no.such", "1"}}, kind(mail.NotFound)},
		{"wrong", []Assignment{hops, {"smtp.errors", "many"}}, kind(mail.Invalid)},
		{"twice", []Assignment{hops, hops}, kind(mail.Invalid)},
		{"fixed", []Assignment{hops, {"pop.errors", "8"}}, kind(mail.Conflict)},
		{"guarded", []Assignment{hops, {"tls.key", "k.pem"}},
			func(err error) bool { return errors.Is(err, refusal) }},
	}
	for _, tt := range tests {
		if _, err := r.SetAll(ctx, tt.list); !tt.ok(err) {
			t.Errorf("%s: got %v", tt.name, err)
		}
		if len(m.rows) > 0 || r.Current().Int(SMTPMaxHops) == 9 {
			t.Errorf("%s: something was changed: %v", tt.name, m.rows)
		}
	}
	dry := ApplyOptions{DryRun: true}
	if _, err := r.Apply(ctx, "f", []byte("[tls]\nkey = [\"k\"]\n"), dry); !errors.Is(err, refusal) {
		t.Errorf("dry run: got %v, want the guard's refusal", err)
	}
	changes, err := r.SetAll(ctx, []Assignment{{"tls.key", "k.pem"}, {"tls.certificate", "c.pem"}, hops})
	if err != nil || len(changes) != 3 || len(m.rows) != 3 {
		t.Errorf("got %v, %v, rows %v; want three changes", changes, err, m.rows)
	}
	tried = nil
	if _, err := r.Set(ctx, "smtp.max_hops", "10"); err != nil || len(tried) > 0 {
		t.Errorf("a key that is not guarded: %v, tried %v", err, tried)
	}
	if _, err := r.Reset(ctx, "tls.key"); !errors.Is(err, refusal) {
		t.Errorf("half a reset: got %v, want the guard's refusal", err)
	}
	if _, err := r.ResetAll(ctx, []string{"tls.key", "tls.certificate"}); err != nil {
		t.Errorf("reset: %v", err)
	}
}

func kind(want mail.Kind) func(error) bool {
	return func(err error) bool { return err != nil && mail.KindOf(err) == want }
}

func TestDatabaseProblems(t *testing.T) {
	r := New()
	problems, err := r.Attach(t.Context(), &memory{rows: map[string]string{
		"smtp.max_hops": "9", "smtp.errors": "many", "smtp.gone": "1", "metrics.token": "clear",
	}}, reverse{})
	want := []string{
		`database: "smtp.gone" is no setting; it is passed over`,
		"database: metrics.token: the value is not sealed; it is passed over",
		`database: smtp.errors: "many" is not a number; want a whole number from 3 to 10000, ` +
			`or none; it is passed over`,
	}
	if err != nil || !cmp.Equal(problems, want) {
		t.Errorf("%v %s", err, cmp.Diff(want, problems))
	}
	if got := r.Current().Int(SMTPMaxHops); got != 9 {
		t.Errorf("the right row was not taken: %d", got)
	}
}

func TestRefresh(t *testing.T) {
	r, m := attached(t, nil)
	m.rows["smtp.max_hops"] = "12"
	if _, err := r.Refresh(t.Context()); err != nil || r.Current().Int(SMTPMaxHops) != 12 {
		t.Errorf("got %d, %v", r.Current().Int(SMTPMaxHops), err)
	}
}

func TestReferenceIsCurrent(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "settings.md")
	if *update {
		if err := os.WriteFile(path, Reference(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), string(Reference())); diff != "" {
		t.Errorf("docs/settings.md is old; run go test ./internal/settings -update\n%s", diff)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		New()
	}
}
