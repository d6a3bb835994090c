package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/journal"
	"postrider/internal/mail"
	"postrider/internal/settings"
	"postrider/internal/store"
)

const testToken = "0123456789abcdef"

// serveFixture listens for f's operations and gives a client.
func serveFixture(t *testing.T, f *fixture) *Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "pr")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, testToken, f.Control) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		os.RemoveAll(dir)
	})
	var dialer net.Dialer
	return &Client{Token: testToken, Dial: func(ctx context.Context) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", path)
	}}
}

// Every operation gives the same through the socket as directly: the same
// reply, or an error of the same kind and text.
func TestSocketAndDirectAreOne(t *testing.T) {
	requests := map[string]any{
		"account.add": AccountAddRequest{Address: "new", Password: "secret",
			AccountChange: AccountChange{APOP: ptr("allowed")}},
		"account.list":       AccountListRequest{},
		"account.show":       AddressRequest{"alice"},
		"account.set":        AccountSetRequest{"alice", AccountChange{Login: ptr(false)}},
		"account.password":   AccountPasswordRequest{"alice", "other"},
		"account.remove":     AddressRequest{"bob"},
		"account.import":     AccountImportRequest{Content: "UserName\tPassword\ncarol\tx\n"},
		"account.export":     AccountExportRequest{},
		"account.app.add":    AppPasswordRequest{"alice", "phone"},
		"account.app.list":   AddressRequest{"alice"},
		"account.app.remove": AppPasswordRequest{"alice", "none"},
		"domain.add":         DomainRequest{Name: "example.net"},
		"domain.list":        None{},
		"domain.main":        DomainRequest{Name: "example.org"},
		"domain.remove":      DomainRequest{Name: "example.com"},
		"settings.list":      SettingRequest{Key: "smtp.max_size"},
		"settings.set":       one("smtp.max_size", "1M"),
		"settings.reset":     SettingsResetRequest{[]string{"smtp.nothing"}},
		"config.export":      ConfigExportRequest{},
		"config.apply":       ConfigApplyRequest{Name: "f", Content: "[pop]\nerrors = 5\n"},
		"config.default":     None{},
		"check":              CheckRequest{},
		"trace":              TraceRequest{ID: "t1"},
		"log.levels":         None{},
		"log.level":          LogLevelRequest{Component: "smtp", Level: 5, ForSeconds: 60},
		"server.status":      None{},
		"server.stop":        None{},
		"server.reload":      None{},
	}
	ctx := context.Background()
	for _, o := range Operations() {
		t.Run(o.Name(), func(t *testing.T) {
			q, ok := requests[o.Name()]
			if !ok {
				t.Fatal("this operation is not tested")
			}
			want, _ := o.Types()
			if got := reflect.TypeOf(q); got != want {
				t.Fatalf("the request is a %v, want %v", got, want)
			}
			var results []string
			for _, socket := range []bool{false, true} {
				f := newFixture(t, true)
				f.add(t, "alice", "bob")
				f.rows.traces = []store.Trace{{ID: "t1", Door: "smtp", From: "a@b.example"}}
				var via Caller = f
				if socket {
					via = serveFixture(t, f)
				}
				var reply json.RawMessage
				err := via.Call(ctx, o.Name(), q, &reply, nil)
				results = append(results, fmt.Sprintf("%s %v %v", reply, KindName(err), err))
			}
			if results[0] != results[1] {
				t.Errorf("directly:\n%s\nthrough the socket:\n%s", results[0], results[1])
			}
		})
	}
}

func TestSocketProgress(t *testing.T) {
	f := newFixture(t, true)
	f.rows.problems = []store.Problem{{What: "a hole", Where: "volume 1"}}
	var told []string
	p := func(what string, done, total int64) {
		told = append(told, fmt.Sprintf("%s %d/%d", what, done, total))
	}
	r, err := Check.Call(context.Background(), serveFixture(t, f), CheckRequest{}, p)
	if err != nil || r.Damaged != 1 {
		t.Errorf("got %+v, %v; want one problem", r, err)
	}
	if d := cmp.Diff([]string{"looking 1/2", "looking 2/2"}, told); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// talk sends raw bytes and gives what comes back.
func talk(t *testing.T, c *Client, send string) string {
	t.Helper()
	conn, err := c.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, send); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func TestSocketRefuses(t *testing.T) {
	f := newFixture(t, true)
	c := serveFixture(t, f)
	for name, tt := range map[string]struct{ send, kind string }{
		"wrong token":   {"fedcba9876543210\n{\"operation\":\"server.stop\"}\n", "denied"},
		"empty token":   {"\n{\"operation\":\"server.stop\"}\n", "denied"},
		"part of token": {testToken[:8] + "\n{\"operation\":\"server.stop\"}\n", "denied"},
		"endless token": {strings.Repeat("x", 20*maxToken), "denied"},
		"no JSON":       {testToken + "\nserver.stop\n", "invalid"},
		"wrong request": {testToken + "\n{\"operation\":\"account.add\",\"request\":[]}\n", "invalid"},
		"unknown":       {testToken + "\n{\"operation\":\"server.explode\"}\n", "not_found"},
	} {
		got := talk(t, c, tt.send)
		if want := `{"error":{"kind":"` + tt.kind + `"`; !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s…", name, got, want)
		}
	}
	if f.host.stopped {
		t.Error("somebody without the token has stopped the server")
	}
}

// A client that goes away ends its operation.
func TestClientGoesAway(t *testing.T) {
	f := newFixture(t, true)
	slow := &slowStore{fakeStore: f.rows, began: make(chan bool), ended: make(chan error, 1)}
	f.store = slow
	c := serveFixture(t, f)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error)
	go func() {
		_, err := Check.Call(ctx, c, CheckRequest{}, nil)
		failed <- err
	}()
	<-slow.began
	cancel()
	if err := <-slow.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the operation ended with %v, want canceled", err)
	}
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("the call ended with %v, want canceled", err)
	}
}

type slowStore struct {
	*fakeStore
	began chan bool
	ended chan error
}

func (s *slowStore) Check(ctx context.Context, _ bool, _ store.Progress) ([]store.Problem, error) {
	close(s.began)
	<-ctx.Done()
	s.ended <- ctx.Err()
	return nil, ctx.Err()
}

// Serve ends although clients hang on it without a word.
func TestServeEndsWithSilentClients(t *testing.T) {
	f := newFixture(t, true)
	c := serveFixture(t, f)
	for range 3 {
		conn, err := c.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() }) // after Serve has ended
	}
}

// TestSilentClients proves that clients that say nothing keep nobody waiting.
func TestSilentClients(t *testing.T) {
	f := newFixture(t, true)
	client := serveFixture(t, f)
	for range 2 * maxSessions {
		conn, err := client.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), tokenTime/2)
	defer cancel()
	if _, err := Status.Call(ctx, client, None{}, nil); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestHostOperations(t *testing.T) {
	ctx := context.Background()
	stopped := newFixture(t, false)
	_, err := Stop.Call(ctx, stopped, None{}, nil)
	wantKind(t, "stop", err, mail.Unreachable)
	_, err = Reload.Call(ctx, stopped, None{}, nil)
	wantKind(t, "reload", err, mail.Unreachable)
	if s, err := Status.Call(ctx, stopped, None{}, nil); err != nil || s.Running {
		t.Errorf("got %+v, %v; want not running", s, err)
	}
	f := newFixture(t, true)
	c := serveFixture(t, f)
	if s, err := Status.Call(ctx, c, None{}, nil); err != nil || !s.Running || s.PID != 1 {
		t.Errorf("got %+v, %v; want running", s, err)
	}
	if _, err := Stop.Call(ctx, c, None{}, nil); err != nil || !f.host.stopped {
		t.Errorf("stop: %v, stopped %v", err, f.host.stopped)
	}
}

// Scripts rely on names in snake_case, and on lists that are never null.
func TestReplyNames(t *testing.T) {
	snake := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	seen := map[reflect.Type]bool{}
	var look func(t *testing.T, typ reflect.Type)
	look = func(t *testing.T, typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[time.Time]() || seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.Anonymous && !snake.MatchString(name) {
				t.Errorf("%v.%s has the JSON name %q", typ, f.Name, name)
			}
			look(t, f.Type)
		}
	}
	for _, o := range Operations() {
		q, r := o.Types()
		look(t, q)
		look(t, r)
		if o.Doc() == "" {
			t.Errorf("%s has no doc", o.Name())
		}
	}
}

// What changes something is in the log at level 2, what only looks is not.
func TestOperationsLogged(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, true)
	var out bytes.Buffer
	f.log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: journal.Major}))
	file := ConfigApplyRequest{Name: "f.toml", Content: "[smtp]\nerrors = 5\n"}
	table := AccountImportRequest{Content: "UserName\tPassword\ncarol\tx\n"}
	dryFile, dryTable := file, table
	dryFile.DryRun, dryTable.DryRun = true, true
	tests := []struct {
		name string
		call func() error
		want string
	}{
		{"list", func() error { return do(ctx, f, AccountList, AccountListRequest{}) }, ""},
		{"apply", func() error { return do(ctx, f, ConfigApply, file) }, "config.apply subject=f.toml"},
		{"dry apply", func() error { return do(ctx, f, ConfigApply, dryFile) }, ""},
		{"import", func() error { return do(ctx, f, AccountImport, table) }, "account.import"},
		{"dry import", func() error { return do(ctx, f, AccountImport, dryTable) }, ""},
		{"check", func() error { return do(ctx, f, Check, CheckRequest{}) }, ""},
		{"repair", func() error { return do(ctx, f, Check, CheckRequest{Repair: true}) }, "check"},
		{"set", func() error { return do(ctx, f, SettingsSet, one("pop.errors", "4")) },
			"settings.set subject=pop.errors"},
	}
	for _, tt := range tests {
		out.Reset()
		if err := tt.call(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := out.String(); !strings.Contains(got, "msg="+tt.want) && tt.want != "" ||
			got != "" && tt.want == "" {
			t.Errorf("%s: got record %q, want %q", tt.name, got, tt.want)
		}
	}
}

func do[Q, R any](ctx context.Context, c Caller, o Op[Q, R], q Q) error {
	_, err := o.Call(ctx, c, q, nil)
	return err
}

func TestLogLevel(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, true)
	tests := []struct {
		name string
		q    LogLevelRequest
		kind mail.Kind
		want string
	}{
		{"one", LogLevelRequest{"smtp", 5, 3600}, 0, "smtp 5 2026-03-01 13:00"},
		{"all, without end", LogLevelRequest{Level: 4}, 0, " 4 0001-01-01 00:00"},
		{"taken back", LogLevelRequest{Component: "pop"}, 0, "pop 0 0001-01-01 00:00"},
		{"unknown", LogLevelRequest{"smpt", 5, 0}, mail.NotFound, ""},
		{"too long", LogLevelRequest{"smtp", 5, 1 << 40}, mail.Invalid, ""},
		{"too much", LogLevelRequest{"smtp", 6, 0}, mail.Invalid, ""},
	}
	for _, tt := range tests {
		f.host.level = ""
		_, err := LogLevelSet.Call(ctx, f, tt.q, nil)
		if tt.want == "" {
			wantKind(t, tt.name, err, tt.kind)
		} else if err != nil || f.host.level != tt.want {
			t.Errorf("%s: got %q, %v; want %q", tt.name, f.host.level, err, tt.want)
		}
	}
	_, err := LogLevels.Call(ctx, newFixture(t, false), None{}, nil)
	wantKind(t, "no server", err, mail.Unreachable)
	_, err = LogLevelSet.Call(ctx, newFixture(t, false), LogLevelRequest{Level: 5}, nil)
	wantKind(t, "no server", err, mail.Unreachable)
}

// one asks for one setting to be changed.
func one(key, value string) SettingsSetRequest {
	return SettingsSetRequest{[]settings.Assignment{{Name: key, Value: value}}}
}

func TestSettingsThroughControl(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, true)
	if err := f.settings.SetFlags([]string{"pop.errors=7"}); err != nil {
		t.Fatal(err)
	}
	_, err := SettingsSet.Call(ctx, f, one("pop.errors", "9"), nil)
	wantKind(t, "fixed by a flag", err, mail.Conflict)
	r, err := SettingsSet.Call(ctx, f, one("smtp.errors", "9"), nil)
	if err != nil || len(r.Changes) != 1 || r.Changes[0].New != "9" || !r.Running {
		t.Errorf("got %+v, %v; want one change to 9", r, err)
	}
	apply := ConfigApplyRequest{Name: "f.toml", Content: "[smtp]\nerrors = 5\n", DryRun: true}
	if _, err := ConfigApply.Call(ctx, f, apply, nil); err != nil {
		t.Error(err)
	}
	if got := f.settings.Current().Int(settings.SMTPErrors); got != 9 {
		t.Errorf("after a dry run: got %d, want 9", got)
	}
	apply.Content = "[smtp]\nerors = 5\n"
	_, err = ConfigApply.Call(ctx, f, apply, nil)
	wantKind(t, "wrong file", err, mail.Invalid)
}

// The newest traces are told, the newest last.
func TestTraceOrder(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	for i := range 60 {
		f.rows.traces = append(f.rows.traces, store.Trace{ID: fmt.Sprint("t", i), From: "a@b.example",
			Time: testTime.Add(-time.Duration(i) * time.Minute)})
	}
	for limit, want := range map[int]string{
		0:  "50 from t49 to t0, more true",
		1:  "1 from t0 to t0, more true",
		60: "60 from t59 to t0, more false",
		99: "60 from t59 to t0, more false",
	} {
		r, err := Trace.Call(ctx, f, TraceRequest{Address: "a@b.example", Limit: limit}, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := len(r.Traces)
		got := fmt.Sprintf("%d from %s to %s, more %v", n, r.Traces[0].ID, r.Traces[n-1].ID, r.More)
		if got != want {
			t.Errorf("limit %d: got %s, want %s", limit, got, want)
		}
	}
}

// An address is found as people write it.
func TestTraceAddress(t *testing.T) {
	ctx, f := context.Background(), newFixture(t, false)
	f.rows.traces = []store.Trace{{ID: "t1", From: "a@b.example", Recipients: []store.TraceRecipient{
		{Address: "ann@example.org", Outcome: "delivered"}}}}
	for _, tt := range []struct {
		address string
		want    int
	}{
		{"ann@example.org", 1}, {"<ann@example.org>", 1}, {" a@b.example ", 1}, {"Ann", 1}, {"<ann>", 1},
		{"bob", 0}, {"<>", -1},
	} {
		r, err := Trace.Call(ctx, f, TraceRequest{Address: tt.address}, nil)
		if (err != nil) != (tt.want < 0) || len(r.Traces) != max(tt.want, 0) {
			t.Errorf("%s: got %+v, %v, want %d", tt.address, r.Traces, err, tt.want)
		}
	}
}

func TestTraceStory(t *testing.T) {
	row := store.Trace{ID: "t1", Door: "smtp", Peer: "192.0.2.7", Helo: "mx.example.net",
		TLS: "TLS1.3", From: "a@example.net", MessageID: "<1@example.net>", Size: 2048,
		Recipients: []store.TraceRecipient{
			{Address: "alice@example.org", Email: 33, Outcome: "delivered"},
			{Address: "bob@example.org", Outcome: "refused", Reason: "the mailbox is full"},
			{Address: "carol@example.org", Outcome: "deferred"},
		}}
	want := []string{
		"It came from another server by SMTP, from a@example.net, 2048 bytes.",
		"The other side was 192.0.2.7, calling itself mx.example.net, over TLS1.3.",
		"Its Message-ID is <1@example.net>.",
		"For alice@example.org it was delivered as message 0000000000011.",
		"For bob@example.org it was refused: the mailbox is full.",
		"For carol@example.org it was put off: the sender may try again.",
	}
	if d := cmp.Diff(want, story(&row)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func FuzzReadLine(f *testing.F) {
	f.Add("token\n", 10)
	f.Add(strings.Repeat("x", 5000)+"\n", 4096)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 0 || limit > 1<<16 {
			return
		}
		line, err := readLine(bufio.NewReader(strings.NewReader(s)), limit)
		if err == nil && (len(line) > limit || strings.Contains(string(line), "\n")) {
			t.Errorf("got %d bytes with limit %d", len(line), limit)
		}
	})
}
