package sqlstore

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postrider/internal/blob/volume"
	"postrider/internal/mail"
	"postrider/internal/store"
	"postrider/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Home {
		dir := t.TempDir()
		return storetest.Home{Open: func(t testing.TB) store.Store { return openTest(t, dir, nil) }}
	})
}

// copyTree copies a directory as it is, as a crash would leave it.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		src, err := os.Open(path)
		if err != nil {
			return err
		}
		defer src.Close()
		dst, err := os.Create(filepath.Join(to, rel))
		if err != nil {
			return err
		}
		defer dst.Close()
		_, err = io.Copy(dst, src)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// useDatabase replaces the database in dir by the one in from.
func useDatabase(t testing.TB, from, dir string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(filepath.Join(dir, "postrider.db"+suffix))
		data, err := os.ReadFile(filepath.Join(from, "postrider.db"+suffix))
		if err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "postrider.db"+suffix), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReplay loses every commit that was not flushed: the volumes bring the
// messages back, each once, with the same numbers.
func TestReplay(t *testing.T) {
	live, crashed := t.TempDir(), t.TempDir()
	quiet := func(c *Config) { c.Quiet = true }
	s := openTest(t, live, quiet)
	ids := addUsers(t, s, 3)
	before := t.TempDir()
	copyTree(t, live, before) // the last flushed commit was addUsers
	var want []store.Result
	for i := range 40 {
		r, err := deliver(s, []byte(fmt.Sprint("message ", i)), ids[i%3], ids[(i+1)%3])
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, r...)
	}
	big := []byte(strings.Repeat("big ", 50_000))
	if _, err := deliver(s, big, ids[0]); err != nil {
		t.Fatal(err)
	}
	copyTree(t, live, crashed)
	useDatabase(t, before, crashed)
	s.Close()

	for range 2 { // a second start must find nothing more
		s = openTest(t, crashed, quiet)
		var got []mail.EmailID
		for _, id := range ids {
			entries, err := s.Entries(context.Background(), id, store.Inbox, 0, 500)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				got = append(got, e.Email)
			}
		}
		if len(got) != len(want)+1 {
			t.Errorf("%d messages after replay, want %d", len(got), len(want)+1)
		}
		for _, w := range want {
			if !slices.Contains(got, w.Email) {
				t.Errorf("message %s is lost", w.Email)
			}
		}
		found, err := s.Traces(context.Background(), store.TraceQuery{Limit: 500})
		if err != nil || len(found) != 41 {
			t.Errorf("%d traces, %v; want 41", len(found), err)
		}
		storetest.Clean(t, s)
		s.Close()
	}
}

// TestOlderDatabase puts an old database beside newer volumes: it is refused,
// and taken in only when asked for, with new UIDVALIDITYs.
func TestOlderDatabase(t *testing.T) {
	dir, old := t.TempDir(), t.TempDir()
	quiet := func(c *Config) { c.Quiet = true }
	s := openTest(t, dir, quiet)
	ids := addUsers(t, s, 1)
	box, _ := s.Mailbox(context.Background(), ids[0], store.Inbox)
	deliver(s, []byte("one"), ids[0])
	copyTree(t, dir, old)
	addDomain(t, s, "later.example") // a flushed commit that the old one lacks
	deliver(s, []byte("two"), ids[0])
	s.Close()
	useDatabase(t, old, dir)

	cfg := Config{Path: filepath.Join(dir, "postrider.db"), Quiet: true}
	cfg.Blobs = openVolumes(t, dir)
	if _, err := Open(context.Background(), cfg); mail.KindOf(err) != mail.Damaged {
		t.Fatalf("an old database: got %v, want kind Damaged", err)
	}
	cfg.Blobs.Close()
	s = openTest(t, dir, func(c *Config) { c.Quiet, c.AcceptRestore = true, true })
	defer s.Close()
	got, err := storetest.Read(s, ids[0])
	if err != nil || len(got) != 2 {
		t.Errorf("messages: got %q, %v; want both", got, err)
	}
	now, err := s.Mailbox(context.Background(), ids[0], store.Inbox)
	if err != nil || now.UIDValidity <= box.UIDValidity {
		t.Errorf("UIDVALIDITY: got %d, want above %d", now.UIDValidity, box.UIDValidity)
	}
	storetest.Clean(t, s)
}

func addDomain(t testing.TB, s store.Store, name string) {
	t.Helper()
	if err := s.AddDomain(context.Background(), store.Domain{Name: name}); err != nil {
		t.Fatal(err)
	}
}

// TestRebuild deletes the database and compares mail, accounts and settings
// with what was.
func TestRebuild(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	ids := addUsers(t, s, 3)
	value := "v"
	if err := s.WriteSettings(context.Background(), map[string]*string{"k": &value}); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		deliver(s, []byte(fmt.Sprint("message ", i)), ids[i%3])
	}
	deliver(s, []byte(strings.Repeat("big ", 50_000)), ids...)
	want := contents(t, s, ids)
	s.Close()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(filepath.Join(dir, "postrider.db"+suffix))
	}
	cfg := Config{Path: filepath.Join(dir, "postrider.db"), Blobs: openVolumes(t, dir),
		Snapshot: filepath.Join(dir, "state.json")}
	if _, err := Rebuild(context.Background(), cfg, nil); err != nil {
		t.Fatal(err)
	}
	cfg.Blobs.Close()
	s = openTest(t, dir, nil)
	defer s.Close()
	if got := contents(t, s, ids); got != want {
		t.Errorf("after the rebuild:\ngot  %.2000s\nwant %.2000s", got, want)
	}
	storetest.Clean(t, s)
}

// contents describes everything that a rebuild must bring back.
func contents(t testing.TB, s *Store, ids []mail.AccountID) string {
	t.Helper()
	ctx := context.Background()
	var b strings.Builder
	domains, _ := s.Domains(ctx)
	settings, _ := s.Settings(ctx)
	fmt.Fprintln(&b, len(domains), domains[0].Name, domains[0].Main, settings)
	accounts, _ := s.Accounts(ctx, "", "", 500)
	for _, a := range accounts {
		creds, _ := s.Credentials(ctx, a.ID)
		fmt.Fprintln(&b, a.ID, a.Address, a.Enabled, a.Login, a.Created.Unix(), creds)
	}
	for _, id := range ids {
		got, err := storetest.Read(s, id)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%d %q\n", id, got)
	}
	return b.String()
}

// TestSweep wins back the space of what was removed.
func TestSweep(t *testing.T) {
	s := openTest(t, t.TempDir(), func(c *Config) { c.Quiet, c.OrphanKeep = true, 1 })
	defer s.Close()
	ctx := context.Background()
	ids := addUsers(t, s, 2)
	for range 20 {
		deliver(s, []byte("x"), ids...)
	}
	if err := s.WriteAccounts(ctx, []store.AccountWrite{
		{Account: store.Account{ID: ids[0]}, Remove: true}}); err != nil {
		t.Fatal(err)
	}
	tidy := func(want int) {
		t.Helper()
		if err := s.Tidy(ctx); err != nil {
			t.Fatal(err)
		}
		var blobs, orphans int
		s.read.QueryRow(`SELECT count(*), (SELECT count(*) FROM orphan) FROM blob`).Scan(&blobs, &orphans)
		if blobs != want || orphans != 0 {
			t.Errorf("%d bodies, %d orphans; want %d and none", blobs, orphans, want)
		}
	}
	tidy(20) // the other account still has them all
	var uids []mail.UID
	for i := range 15 {
		uids = append(uids, mail.UID(i+1))
	}
	if err := s.Expunge(ctx, ids[1], store.Inbox, uids); err != nil {
		t.Fatal(err)
	}
	tidy(5)
	storetest.Clean(t, s)
}

// TestSweepKeepsYoung leaves a body alone for OrphanKeep, also between older
// ones that go.
func TestSweepKeepsYoung(t *testing.T) {
	now := time.Now()
	s := openTest(t, t.TempDir(), func(c *Config) {
		c.Quiet, c.OrphanKeep, c.Now = true, time.Hour, func() time.Time { return now }
	})
	defer s.Close()
	ctx := context.Background()
	ids := addUsers(t, s, 1)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range 25 {
				if _, err := deliver(s, []byte("x"), ids[0]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	var old, young []mail.UID
	for i := range 250 {
		if i%2 == 0 {
			old = append(old, mail.UID(i+1))
		} else if i%4 == 1 {
			young = append(young, mail.UID(i+1))
		}
	}
	want := func(blobs, orphans int) {
		t.Helper()
		if err := s.Tidy(ctx); err != nil {
			t.Fatal(err)
		}
		var b, o int
		s.read.QueryRow(`SELECT count(*), (SELECT count(*) FROM orphan) FROM blob`).Scan(&b, &o)
		if b != blobs || o != orphans {
			t.Errorf("%d bodies, %d orphans; want %d, %d", b, o, blobs, orphans)
		}
	}
	for _, uids := range [][]mail.UID{old, young} {
		if err := s.Expunge(ctx, ids[0], store.Inbox, uids); err != nil {
			t.Fatal(err)
		}
		now = now.Add(40 * time.Minute)
	}
	want(250-len(old), len(young))
	now = now.Add(40 * time.Minute)
	want(250-len(old)-len(young), 0)
}

// TestCompact removes volumes that are mostly dead: what lives is moved and
// still read, the disk has its space back, and a rebuild finds everything.
func TestCompact(t *testing.T) {
	dir := t.TempDir()
	small := func(c *Config) {
		c.Quiet, c.OrphanKeep = true, 1
		c.Blobs.Close()
		blobs, err := volume.Open(volume.Config{Dirs: []string{filepath.Join(dir, "volumes")},
			Size: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		c.Blobs = blobs
	}
	s := openTest(t, dir, small)
	ctx := context.Background()
	ids := addUsers(t, s, 1)
	var keep []string
	var gone []mail.UID
	for i := range 300 {
		body := fmt.Sprint("message ", i, strings.Repeat(" filler", 4000))
		if i%100 == 50 {
			body = strings.Repeat(fmt.Sprint("large ", i), 20_000)
		}
		if _, err := deliver(s, []byte(body), ids[0]); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			keep = append(keep, string(make([]byte, 300))+body)
		} else {
			gone = append(gone, mail.UID(i+1))
		}
	}
	before := used(s)
	if err := s.Expunge(ctx, ids[0], store.Inbox, gone); err != nil {
		t.Fatal(err)
	}
	for range 3 { // seen sealed, then moved
		if err := s.Tidy(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if after := used(s); after > before/2 {
		t.Errorf("%d bytes used after, %d before", after, before)
	}
	check := func() {
		t.Helper()
		got, err := storetest.Read(s, ids[0])
		if err != nil || !slices.Equal(got, keep) {
			t.Errorf("%d messages, %v; want the %d kept", len(got), err, len(keep))
		}
		storetest.Clean(t, s)
	}
	check()
	s.Close()
	cfg := Config{Path: filepath.Join(dir, "postrider.db"), Blobs: openVolumes(t, dir),
		Snapshot: filepath.Join(dir, "state.json")}
	if _, err := Rebuild(ctx, cfg, nil); err != nil {
		t.Fatal(err)
	}
	cfg.Blobs.Close()
	s = openTest(t, dir, small)
	defer s.Close()
	got, err := storetest.Read(s, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range keep {
		if !slices.Contains(got, want) {
			t.Errorf("the rebuild lost a message of %d bytes", len(want))
		}
	}
	storetest.Clean(t, s)
}

// used adds up what the volumes take.
func used(s *Store) (n int64) {
	for _, v := range s.blobs.Volumes() {
		n += v.Size
	}
	return n
}

// TestModel compares random operations with a model, over restarts and over
// the loss of unflushed commits.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "model")
		if err != nil {
			r.Fatal(err)
		}
		m := &model{dir: dir, boxes: map[mail.AccountID][]modelMessage{}}
		m.open(t)
		m.ids = addUsers(t, m.s, 3)
		r.Repeat(map[string]func(*rapid.T){
			"deliver": m.deliver, "expunge": m.expunge, "": m.compare,
			"restart": func(*rapid.T) { m.s.Close(); m.open(t) },
		})
		storetest.Clean(t, m.s)
		m.s.Close()
	})
}

type modelMessage struct {
	uid  mail.UID
	body string
}

type model struct {
	dir   string
	s     *Store
	ids   []mail.AccountID
	boxes map[mail.AccountID][]modelMessage
	next  [4]mail.UID
}

func (m *model) open(t testing.TB) {
	m.s = openTest(t, m.dir, func(c *Config) { c.Quiet = true })
}

func (m *model) deliver(r *rapid.T) {
	body := rapid.StringN(0, 40, 200).Draw(r, "body")
	to := rapid.SliceOfNDistinct(rapid.SampledFrom(m.ids), 1, 3, rapid.ID).Draw(r, "to")
	var targets []store.Target
	for _, id := range to {
		targets = append(targets, store.Target{Account: id})
	}
	results, err := storetest.Deliver(m.s, body, targets...)
	if err != nil {
		r.Fatal(err)
	}
	for i, id := range to {
		m.next[id]++
		if results[i].UID != m.next[id] || results[i].Err != nil {
			r.Fatalf("got %+v, want UID %d", results[i], m.next[id])
		}
		m.boxes[id] = append(m.boxes[id], modelMessage{m.next[id], body})
	}
}

func (m *model) expunge(r *rapid.T) {
	id := rapid.SampledFrom(m.ids).Draw(r, "account")
	uids := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) mail.UID {
		return mail.UID(rapid.IntRange(1, 30).Draw(r, "uid"))
	}), 0, 5).Draw(r, "uids")
	if err := m.s.Expunge(context.Background(), id, store.Inbox, uids); err != nil {
		r.Fatal(err)
	}
	m.boxes[id] = slices.DeleteFunc(m.boxes[id], func(x modelMessage) bool {
		return slices.Contains(uids, x.uid)
	})
}

func (m *model) compare(r *rapid.T) {
	for _, id := range m.ids {
		got, err := storetest.Read(m.s, id)
		if err != nil {
			r.Fatal(err)
		}
		if len(got) != len(m.boxes[id]) {
			r.Fatalf("account %d: %d messages, want %d", id, len(got), len(m.boxes[id]))
		}
		for i, x := range m.boxes[id] {
			if got[i] != x.body {
				r.Fatalf("account %d message %d: got %q, want %q", id, i, got[i], x.body)
			}
		}
	}
}
