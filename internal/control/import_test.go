package control

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/journal"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// show writes a row as one line for comparison.
func (r *tableRow) show() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", r.line, r.name)
	if r.password != "" {
		fmt.Fprintf(&b, " password=%s", r.password)
	}
	if r.remove {
		b.WriteString(" remove")
	}
	part := func(name string, set bool, value any) {
		if set {
			fmt.Fprintf(&b, " %s=%v", name, value)
		}
	}
	ch := &r.change
	part("name", ch.FullName != nil, deref(ch.FullName))
	part("enabled", ch.Enabled != nil, deref(ch.Enabled))
	part("login", ch.Login != nil, deref(ch.Login))
	part("quota", ch.QuotaBytes != nil, deref(ch.QuotaBytes))
	part("apop", ch.APOP != nil, deref(ch.APOP))
	part("notify", ch.Notify != nil, deref(ch.Notify))
	for _, n := range r.notes {
		fmt.Fprintf(&b, " (%s)", n)
	}
	if r.err != nil {
		fmt.Fprintf(&b, " ERROR %v", r.err)
	}
	return b.String()
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func TestParseTable(t *testing.T) {
	tests := []struct {
		name, content string
		eims          bool
		want          []string
	}{
		{"the loader's sample", "UserName\tPassword\tAPOPrequired\tSizeLimit\n" +
			"User01\tabcdef\ttrue\t200\nUser02\tssssszzz\ttrue\t-1\nUser04\tklj78#4\tfalse\t500\n",
			false, []string{
				"2 User01 password=abcdef quota=204800 apop=required",
				"3 User02 password=ssssszzz quota=0 apop=required",
				"4 User04 password=klj78#4 quota=512000 apop=off",
			}},
		{"the other names", "ACCOUNT\trealname\tForwardMode\tForwardAddress\n" +
			"a\tAnna A.\tNotify IP\t\nb\t\tNotify\t192.0.2.9\nc\t\tnone\t192.0.2.9\n",
			false, []string{
				"2 a name=Anna A. notify=last-ip",
				"3 b notify=ip:192.0.2.9",
				"4 c notify=none",
			}},
		{"line ends of a Mac", "UserName\tAccountEnabled\ra\tTRUE\rb\tFalse\r", false,
			[]string{"2 a enabled=true", "3 b enabled=false"}},
		{"line ends of DOS", "UserName\tLoginEnabled\r\na\ttrue\r\n\r\nb\tfalse", false,
			[]string{"2 a login=true", "4 b login=false"}},
		{"no limit", "UserName\tSizeLimit\na\t0\nb\t-1\n", false,
			[]string{"2 a quota=0", "3 b quota=0"}},
		{"encrypted password", "UserName\tPassword\na\t\x01\x02\x03xyz\n", false,
			[]string{"2 a (the encrypted password was ignored)"}},
		{"password with blanks", "UserName\tPassword\na\t open sesame \n", false,
			[]string{"2 a password= open sesame "}},
		{"missing cells", "UserName\tFullName\tPassword\na\nb\tB\nc\t\t\n", false,
			[]string{"2 a", "3 b name=B", "4 c"}},
		{"too many cells", "UserName\na\tb\tc\nd\t\t\n", false,
			[]string{"2 a (more cells than columns: the last 2 ignored)", "3 d"}},
		{"wrong values", "UserName\tAccountEnabled\tSizeLimit\tNotifyMode\tNotifyAddress\n" +
			"a\tmaybe\nb\t\tmuch\nc\t\t-2\nd\t\t\tNotify\there\n\ttrue\n", false,
			[]string{
				`2 a ERROR AccountEnabled "maybe": want true or false`,
				`3 b ERROR SizeLimit "much": want a number of kilobytes, or -1 for no limit`,
				`4 c ERROR SizeLimit "-2": want a number of kilobytes, or -1 for no limit`,
				`5 d ERROR NotifyAddress "here": want an IP address`,
				`6  enabled=true ERROR the user name is missing`,
			}},
		{"full name with blanks", "UserName\tFullName\na\t  Jürg \nb\t  \n", false,
			[]string{"2 a name=  Jürg ", "3 b"}},
		{"byte order mark", "\ufeffUserName\na\n", false, []string{"2 a"}},
		{"EIMS", "joe\tJoe Doe\tsecret\t1000\tELA3\t192.0.2.1\t1/1/99\nann\t\t\t\tE4\n" +
			"old\t\t\t\tdelete\nfwd\t\tpw\t\tEL1\tx@example.net\n", true,
			[]string{
				"1 joe password=secret name=Joe Doe enabled=true login=true quota=1024000 " +
					"apop=required notify=ip:192.0.2.1",
				"2 ann enabled=true login=false apop=off notify=last-ip",
				"3 old remove",
				"4 fwd password=pw enabled=true login=true apop=off " +
					"(the flags 1 (forwarding and the like) were ignored) " +
					"(the address to notify was ignored: no mode is given)",
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table, err := parseTable(tt.content, tt.eims)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range table.rows {
				got = append(got, table.rows[i].show())
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestParseTableNotes(t *testing.T) {
	table, err := parseTable("Colour\tUserName\tShoeSize\nblue\ta\t44\n", false)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`the column "Colour" is unknown and was ignored`,
		`the column "ShoeSize" is unknown and was ignored`}
	if d := cmp.Diff(want, table.notes); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestParseTableRefuses(t *testing.T) {
	for name, content := range map[string]string{
		"empty":     "",
		"blank":     "\n\n",
		"no header": "joe\tJoe Doe\tsecret\n",
		"twice":     "UserName\tAccount\na\tb\n",
	} {
		_, err := parseTable(content, false)
		wantKind(t, name, err, mail.Invalid)
	}
}

func TestDecodeTable(t *testing.T) {
	for _, tt := range []struct {
		content, charset, want string
	}{
		{"Jürg", "", "Jürg"},
		{"Jürg", "UTF-8", "Jürg"},
		{"J\xfcrg", "latin1", "Jürg"},
		{"J\x9frg \x80", "macintosh", "Jürg Ä"},
		{"J\x9frg", "", ""},
		{"J\xfcrg", "utf-8", ""},
		{"Jürg", "ebcdic", ""},
	} {
		got, err := DecodeTable([]byte(tt.content), tt.charset)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q in %q: got %q, %v, want %q", tt.content, tt.charset, got, err, tt.want)
		}
		if tt.want == "" {
			wantKind(t, tt.content, err, mail.Invalid)
		}
	}
	_, err := parseTable("UserName\tFullName\na\tJ\x9frg\n", false)
	wantKind(t, "not UTF-8", err, mail.Invalid)
}

// A full name that was no UTF-8 on its way here is refused.
func TestFullNameIsText(t *testing.T) {
	f := newFixture(t, false)
	f.add(t, "alice")
	for _, name := range []string{"M\xfcller", "M\ufffdller"} {
		q := AccountSetRequest{"alice", AccountChange{FullName: &name}}
		_, err := AccountSet.Call(t.Context(), f, q, nil)
		wantKind(t, name, err, mail.Invalid)
	}
}

// An import that is refused has done nothing, and says so, in the log as well.
func TestFailedImport(t *testing.T) {
	f := newFixture(t, false)
	var out bytes.Buffer
	f.log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: journal.Low}))
	q := AccountImportRequest{Name: "users.tsv", Content: "UserName\tSizeLimit\na\t1\nb\tx\n"}
	for _, tt := range []struct {
		name  string
		dry   bool
		added int
		want  string
	}{
		{"dry", true, 1, ""},
		{"real", false, 0, `msg="account.import failed" subject=users.tsv added=0 changed=0 ` +
			`removed=0 unchanged=0 wrong=1`},
	} {
		q.DryRun = tt.dry
		r, err := AccountImport.Call(t.Context(), f, q, nil)
		if err != nil || r.Added != tt.added || r.Failed != 1 {
			t.Errorf("%s: got %+v, %v", tt.name, r, err)
		}
		if got := out.String(); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: got the record %q, want %q", tt.name, got, tt.want)
		}
	}
	q.Content = "UserName\na\n"
	if _, err := AccountImport.Call(t.Context(), f, q, nil); err != nil ||
		!strings.Contains(out.String(), "msg=account.import subject=users.tsv added=1") {
		t.Errorf("got %v, %s", err, out.String())
	}
}

func FuzzParseTable(f *testing.F) {
	f.Add("UserName\tPassword\tSizeLimit\na\tb\t-1\n", false)
	f.Add("joe\tJoe Doe\tsecret\t1000\tELA3\t192.0.2.1\n", true)
	f.Add("Account\rx\r", false)
	f.Fuzz(func(t *testing.T, content string, eims bool) {
		table, err := parseTable(content, eims)
		if err != nil {
			return
		}
		for i := range table.rows {
			if r := &table.rows[i]; r.err == nil && r.name == "" {
				t.Errorf("line %d has neither a name nor an error", r.line)
			}
		}
	})
}

func TestImport(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	f.add(t, "alice", "bob")
	if _, err := AppPasswordAdd.Call(ctx, f, AppPasswordRequest{"alice", "phone"}, nil); err != nil {
		t.Fatal(err)
	}
	content := "UserName\tPassword\tFullName\tAPOPrequired\tAccountEnabled\n" +
		"alice\tfresh\tAlice\ttrue\t\n" + // changed, with a new password
		"Bob@Example.org\t\t\t\tfalse\n" + // changed, the rest stays
		"carol\tsecret\tCarol\t\t\n" // new
	writes := f.rows.writes
	var told []string
	p := func(what string, done, total int64) {
		told = append(told, fmt.Sprintf("%s %d/%d", what, done, total))
	}
	r, err := AccountImport.Call(ctx, f, AccountImportRequest{Content: content}, p)
	if err != nil || r.Added != 1 || r.Changed != 2 || r.Failed != 0 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if got := f.rows.writes - writes; got != 1 {
		t.Errorf("%d writes, want one", got)
	}
	for address, want := range map[string]string{
		"alice": "apop=fresh appphone= argon2id=fresh",
		"bob":   "argon2id=secret",
		"carol": "argon2id=secret",
	} {
		if got := f.secrets(t, address); got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
	bob, err := f.account(ctx, "bob")
	if err != nil || bob.Enabled || bob.Version != 2 {
		t.Errorf("bob: got %+v, %v; want disabled, version 2", bob, err)
	}
	if !strings.Contains(strings.Join(told, ","), "hashing passwords 2/2") {
		t.Errorf("progress: %v", told)
	}
	export, err := AccountExport.Call(ctx, f, AccountExportRequest{}, nil)
	want := exportHeader + "\n" +
		"alice@example.org\tAlice\ttrue\ttrue\t-1\ttrue\tNone\t\t\trequired\t0\n" +
		"bob@example.org\t\tfalse\ttrue\t-1\tfalse\tNone\t\t\toff\t0\n" +
		"carol@example.org\tCarol\ttrue\ttrue\t-1\tfalse\tNone\t\t\toff\t0\n"
	if d := cmp.Diff(want, export.Content); err != nil || d != "" {
		t.Errorf("export: %v (-want +got)\n%s", err, d)
	}
}

// What was exported comes back as it was.
func TestExportIsImported(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	f.add(t, "alice")
	f.add(t, "bob")
	for name, change := range map[string]AccountChange{
		"alice": {FullName: ptr("Älice"), QuotaBytes: ptr(int64(5 << 20)), Notify: ptr("192.0.2.4"),
			Login: ptr(false), APOP: ptr("allowed")},
		"bob": {QuotaBytes: ptr(int64(1500)), APOP: ptr("required"), Enabled: ptr(false)},
	} {
		if _, err := AccountSet.Call(ctx, f, AccountSetRequest{name, change}, nil); err != nil {
			t.Fatal(err)
		}
	}
	export, err := AccountExport.Call(ctx, f, AccountExportRequest{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := newFixture(t, false)
	q := AccountImportRequest{Content: export.Content}
	if _, err := AccountImport.Call(ctx, other, q, nil); err != nil {
		t.Fatal(err)
	}
	again, err := AccountExport.Call(ctx, other, AccountExportRequest{}, nil)
	if d := cmp.Diff(export, again); err != nil || d != "" {
		t.Errorf("%v (-want +got)\n%s", err, d)
	}
	bob, err := other.account(ctx, "bob")
	if err != nil || bob.Quota != 1500 || bob.APOP != store.APOPRequired || bob.Enabled {
		t.Errorf("got %+v, %v", bob, err)
	}
}

// What the columns of SIMS cannot say exactly is exact in ours, and does not
// change by a table that has only theirs.
func TestExactColumns(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name, header, cells string
		quota               int64
		apop                store.APOPMode
		failure             string
	}{
		{"the same in kilobytes", "SizeLimit", "1", 1500, store.APOPAllowed, ""},
		{"another size", "SizeLimit", "2", 2048, store.APOPAllowed, ""},
		{"no limit", "SizeLimit", "-1", 0, store.APOPAllowed, ""},
		{"exact", "SizeLimit\tQuotaBytes", "1\t1600", 1600, store.APOPAllowed, ""},
		{"exact alone", "QuotaBytes", "0", 0, store.APOPAllowed, ""},
		{"only one changed", "SizeLimit\tQuotaBytes", "5\t1500", 0, 0, "SizeLimit and QuotaBytes contradict"},
		{"no number", "QuotaBytes", "much", 0, 0, "QuotaBytes \"much\""},
		{"APOP", "APOPrequired\tAPOP", "true\trequired", 1500, store.APOPRequired, ""},
		{"APOP off", "APOP", "Off", 1500, store.APOPOff, ""},
		{"APOP changed in one", "APOPrequired\tAPOP", "true\tallowed", 0, 0, "APOPrequired and APOP contra"},
		{"a volume of another server", "Volume", "7", 1500, store.APOPAllowed, ""},
		{"a volume that is none", "Volume", "-1", 0, 0, "Volume \"-1\""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, false)
			f.add(t, "bob")
			change := AccountChange{QuotaBytes: ptr(int64(1500)), APOP: ptr("allowed")}
			if _, err := AccountSet.Call(ctx, f, AccountSetRequest{"bob", change}, nil); err != nil {
				t.Fatal(err)
			}
			q := AccountImportRequest{Content: "UserName\t" + tt.header + "\nbob\t" + tt.cells + "\n"}
			r, err := AccountImport.Call(ctx, f, q, nil)
			if err != nil || !strings.HasPrefix(r.Lines[0].Error, tt.failure) ||
				(tt.failure == "") != (r.Failed == 0) {
				t.Fatalf("got %+v, %v; want the error %q", r, err, tt.failure)
			}
			bob, err := f.account(ctx, "bob")
			if err != nil || tt.failure == "" && (bob.Quota != tt.quota || bob.APOP != tt.apop) {
				t.Errorf("got quota %d, APOP %d, %v; want %d, %d", bob.Quota, bob.APOP, err, tt.quota, tt.apop)
			}
		})
	}
}

// An export that is imported where it came from changes nothing.
func TestUnchangedExport(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	f.add(t, "alice", "bob", "carol")
	for name, mode := range map[string]string{"alice": "allowed", "bob": "required"} {
		q := AccountSetRequest{name, AccountChange{APOP: &mode, QuotaBytes: ptr(int64(5 << 20))}}
		if _, err := AccountSet.Call(ctx, f, q, nil); err != nil {
			t.Fatal(err)
		}
	}
	export, err := AccountExport.Call(ctx, f, AccountExportRequest{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	writes := f.rows.writes
	r, err := AccountImport.Call(ctx, f, AccountImportRequest{Content: export.Content}, nil)
	if err != nil || r.Unchanged != 3 || r.Changed != 0 || f.rows.writes != writes {
		t.Errorf("got %+v, %v, %d writes; want 3 unchanged", r, err, f.rows.writes-writes)
	}
	r, err = AccountImport.Call(ctx, f, AccountImportRequest{Content: exportHeader + "\n"}, nil)
	if want := "there are no accounts in the file"; err != nil || len(r.Notes) != 1 ||
		r.Notes[0] != want {
		t.Errorf("only a header: got %+v, %v; want %q", r, err, want)
	}
}

func TestImportDoesNothingByHalves(t *testing.T) {
	tests := []struct {
		name, content string
		dry           bool
		fail          error
	}{
		{"dry run", "UserName\tPassword\na\tx\n", true, nil},
		{"wrong value", "UserName\tPassword\tSizeLimit\na\tx\t1\nb\tx\tmuch\n", false, nil},
		{"reserved name", "UserName\tPassword\na\tx\nnull\tx\n", false, nil},
		{"twice", "UserName\tPassword\na\tx\nA@example.org\tx\n", false, nil},
		{"other domain", "UserName\tPassword\na\tx\nb@example.net\tx\n", false, nil},
		{"bad password", "UserName\tPassword\na\tx\nb\tx\x02\n", false, nil},
		{"disk", "UserName\tPassword\na\tx\n", false, errDisk},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, false)
			f.rows.fail = tt.fail
			q := AccountImportRequest{Content: tt.content, DryRun: tt.dry}
			r, err := AccountImport.Call(context.Background(), f, q, nil)
			if !tt.dry && err == nil && r.Failed == 0 {
				t.Errorf("got %+v, want a failure", r)
			}
			if len(f.rows.accounts) > 0 {
				t.Errorf("%d accounts were made", len(f.rows.accounts))
			}
			if f.pass.made > 0 && tt.fail == nil {
				t.Error("passwords were hashed for nothing")
			}
		})
	}
}

// While passwords are hashed, somebody else changes an account.
func TestImportOvertaken(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	f.add(t, "alice")
	q := AccountImportRequest{Content: "UserName\tPassword\nalice\tnew\n"}
	p := func(what string, _, _ int64) {
		if what != "hashing passwords" {
			return
		}
		f.rows.mu.Lock()
		defer f.rows.mu.Unlock()
		f.rows.accounts["alice@example.org"] = &store.Account{ID: 1, Version: 9,
			Address: mail.Address{Local: "alice", Domain: "example.org"}}
	}
	_, err := AccountImport.Call(ctx, f, q, p)
	wantKind(t, "import", err, mail.Conflict)
	if got := f.secrets(t, "alice"); got != "argon2id=secret" {
		t.Errorf("the password became %q", got)
	}
}
