package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/mail"
)

// lines gives a file's lines, without the time of text records.
func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bare(string(b))
}

func bare(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if _, rest, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(line, "{") {
			line = rest
		}
		out = append(out, line)
	}
	return out
}

func open(t *testing.T, c Config) *Journal {
	t.Helper()
	j, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

type level uint8

type account struct{ Password string }

func TestForms(t *testing.T) {
	clock := func() time.Time {
		return time.Date(2026, 11, 21, 5, 6, 7, 89_000_000, time.FixedZone("", 3600))
	}
	write := func(format string) string {
		var out bytes.Buffer
		j := open(t, Config{Format: format, Level: 5, Stderr: &out, Now: clock})
		h := j.For("smtp").Handler()
		var zero slog.Record
		r := slog.NewRecord(zero.Time, Failure, "recipient refused\x1b[2J\n", 0)
		r.AddAttrs(
			slog.String("peer", "192.0.2.1"), slog.String("reply", "550 5.1.1 no \"x\""),
			slog.String("empty", ""), slog.Int("size", -5), slog.Uint64("n", 7),
			slog.Bool("tls", true), slog.Float64("x", 1.5), slog.Duration("took", time.Second),
			slog.Time("at", clock()), slog.Any("err", errors.New("broken\x00pipe")),
			slog.Any("ip", netip.MustParseAddr("::1")), slog.Any("nil", nil),
			slog.Any("list", []string{"a", "b"}), slog.Any("level", level(3)),
			slog.Any("account", account{"hunter2"}), slog.Any("id", mail.EmailID(1)),
			slog.Any("bad", (*net.TCPAddr)(nil)),
			slog.Group("g", slog.Int("a", 1), slog.Group("h", slog.String("password", "hunter2"))),
			slog.String("Password", "hunter2"), slog.String("apop_secret", "hunter2"),
			slog.Any("user", Secret("hunter2")), slog.String("bad utf8", "\xff"),
			slog.String("long", strings.Repeat("é", maxValue)),
		)
		if err := h.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		j.For("pop").With("session", 5).WithGroup("g").With("token", "hunter2").Debug("hi", "b", 2)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("a secret got into the log: %s", out.String())
		}
		return strings.ReplaceAll(out.String(), strings.Repeat("é", maxValue/2), "ééé")
	}
	text := `2026-11-21T05:06:07.089+01:00 1 smtp recipient refused\x1b[2J\n peer=192.0.2.1 ` +
		`reply="550 5.1.1 no \"x\"" empty="" size=-5 n=7 tls=true x=1.5 took=1s ` +
		`at=2026-11-21T05:06:07.089+01:00 err="broken\x00pipe" ip=::1 nil=null list="a, b" ` +
		`level=3 account=(journal.account) id=0000000000001 bad=<nil> g.a=1 ` +
		`g.h.password=*** Password=*** apop_secret=*** user=*** bad utf8="\xff" long=ééé…
`
	if diff := cmp.Diff(text, firstLine(write("text"))); diff != "" {
		t.Error(diff)
	}
	if got := bare(write("text"))[1]; got != "5 pop hi session=5 g.token=*** g.b=2" {
		t.Errorf("second record: %s", got)
	}
	json := `{"time":"2026-11-21T05:06:07.089+01:00","level":1,"component":"smtp",` +
		`"text":"recipient refused\u001b[2J\u000a","peer":"192.0.2.1",` +
		`"reply":"550 5.1.1 no \"x\"","empty":"","size":-5,"n":7,"tls":true,"x":1.5,` +
		`"took":"1s","at":"2026-11-21T05:06:07.089+01:00","err":"broken\u0000pipe","ip":"::1",` +
		`"nil":null,"list":"a, b","attr.level":3,"account":"(journal.account)",` +
		`"id":"0000000000001","bad":"<nil>","g.a":1,"g.h.password":"***","Password":"***",` +
		`"apop_secret":"***","user":"***","bad utf8":"` + "\ufffd" + `","long":"ééé…"}
`
	if diff := cmp.Diff(json, firstLine(write("json"))); diff != "" {
		t.Error(diff)
	}
}

func firstLine(s string) string { return s[:strings.Index(s, "\n")+1] }

func TestSecret(t *testing.T) {
	s := Secret("hunter2")
	if got := fmt.Sprintf("%s %v %q %x %#v %d", s, s, s, s, s, s); strings.Contains(got, "hunter") ||
		strings.Contains(got, "68756e") {
		t.Errorf("got %s", got)
	}
}

func TestRecordIsBounded(t *testing.T) {
	var out bytes.Buffer
	j := open(t, Config{Stderr: &out})
	args := make([]any, 0, 200)
	for range 100 {
		args = append(args, "x", strings.Repeat("y", maxValue))
	}
	j.For("smtp").Error(strings.Repeat("z", 1<<20), args...)
	j.Close()
	if out.Len() > maxRecord+3*maxValue {
		t.Errorf("got %d bytes", out.Len())
	}
}

func TestLevels(t *testing.T) {
	for n, l := range thresholds {
		if n > 0 && Number(l) != n {
			t.Errorf("level %d: got %d", n, Number(l))
		}
	}
	if Number(Failure+4) != 1 || Number(Everything-4) != 5 || Number(slog.Level(2)) != 4 {
		t.Error("levels between are wrong")
	}
	got, err := ParseLevels([]string{"smtp=4", "pop=1"})
	if err != nil || !cmp.Equal(got, map[string]int{"smtp": 4, "pop": 1}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"smtp", "smtp=0", "smtp=6", "=1", "smtp=x"} {
		if _, err := ParseLevels([]string{bad}); mail.KindOf(err) != mail.Invalid {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

func TestLevelsWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		j := open(t, Config{Stderr: &out, Levels: map[string]int{"pop": 1}})
		smtp, pop := j.For("smtp"), j.For("pop")
		check := func(what string, wantSMTP, wantPOP int) {
			t.Helper()
			for _, c := range []struct {
				l    *slog.Logger
				want int
			}{{smtp, wantSMTP}, {pop, wantPOP}} {
				for n := 1; n <= 5; n++ {
					got := c.l.Enabled(t.Context(), thresholds[n])
					if got != (n <= c.want) {
						t.Errorf("%s: level %d enabled %v", what, n, got)
					}
				}
			}
		}
		check("start", 3, 1)
		j.Set("smtp", 1, time.Time{})
		j.Set("", 4, time.Now().Add(2*time.Hour))
		check("all set", 4, 4)
		j.Set("smtp", 5, time.Now().Add(time.Hour))
		check("set", 5, 4)
		if l := j.Levels(); len(l) != 2 || l[0].Component != "pop" || l[0].Level != 4 ||
			!l[0].Changed || l[0].Settings != 1 || l[1].Settings != 3 ||
			!l[1].Until.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("levels: %+v", l)
		}
		j.Configure(2, nil)
		check("configured", 5, 4)
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		check("after an hour", 4, 4)
		time.Sleep(time.Hour)
		synctest.Wait()
		check("after two hours", 2, 2)
		j.Set("pop", 1, time.Time{})
		check("without end", 2, 1)
		j.Set("pop", 0, time.Time{})
		check("taken back", 2, 2)
		if err := j.Set("", 6, time.Time{}); mail.KindOf(err) != mail.Invalid {
			t.Errorf("level 6: %v", err)
		}
		j.Close()
	})
}

// How long files are kept can change while running.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01 00:00 UTC
		dir := t.TempDir()
		old := filepath.Join(dir, "1999-12-20.log")
		if err := os.WriteFile(old, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, Config{Target: "files", Directory: dir, Keep: 30 * 24 * time.Hour,
			Now: func() time.Time { return time.Now().UTC() }})
		defer j.Close()
		for _, days := range []time.Duration{30, 0, 5} {
			j.Keep(days * 24 * time.Hour)
			j.For("smtp").Error("text")
			j.Flush()
			_, err := os.Stat(old)
			if gone := err != nil; gone != (days == 5) {
				t.Errorf("kept for %d days: gone %v", days, gone)
			}
		}
	})
}

func TestDailyFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01 00:00 UTC
		dir := filepath.Join(t.TempDir(), "log")
		os.Mkdir(dir, 0o700)
		for _, name := range []string{"1999-12-01.log", "1999-12-30.log", "1999-12-01.txt",
			"1999-13-01.log", "notes.log"} {
			os.WriteFile(filepath.Join(dir, name), nil, 0o600)
		}
		now := func() time.Time { return time.Now().UTC() }
		j := open(t, Config{Target: "files", Directory: dir, Keep: 48 * time.Hour, Now: now})
		l := j.For("smtp")
		at := func(text string) { // slog takes the time itself, in the local zone
			r := slog.NewRecord(now(), Failure, text, 0)
			l.Handler().Handle(t.Context(), r)
		}
		time.Sleep(24*time.Hour - 10*time.Millisecond)
		at("last of the day")
		time.Sleep(20 * time.Millisecond)
		at("first of the day")
		time.Sleep(100 * time.Hour)
		at("days later")
		synctest.Wait()
		os.Rename(filepath.Join(dir, "2000-01-06.log"), filepath.Join(dir, "2000-01-06.log.1"))
		at("after it was moved")
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		got := map[string]string{}
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			got[f.Name()] = strings.Join(lines(t, filepath.Join(dir, f.Name())), "|")
		}
		want := map[string]string{
			"1999-12-01.txt": "", "1999-13-01.log": "", "notes.log": "",
			"2000-01-06.log": "1 smtp after it was moved", "2000-01-06.log.1": "1 smtp days later",
		}
		// 2000-01-01 and the day after were kept until they were old.
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// TestWriterDelay proves that failures are written at once, others soon.
func TestWriterDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slow{}
		j := open(t, Config{Stderr: out})
		l := j.For("smtp")
		l.Warn("can wait")
		synctest.Wait()
		if got := out.text(); got != "" {
			t.Errorf("written at once: %q", got)
		}
		time.Sleep(flushDelay)
		synctest.Wait()
		if got := bare(out.text()); len(got) != 1 {
			t.Errorf("after the delay: %q", got)
		}
		l.Warn("in front")
		l.Error("urgent")
		synctest.Wait()
		if got := bare(out.text()); len(got) != 3 || got[2] != "1 smtp urgent" {
			t.Errorf("after a failure: %q", got)
		}
		l.Warn("flushed")
		j.Flush()
		if got := bare(out.text()); len(got) != 4 {
			t.Errorf("after Flush: %q", got)
		}
		l.Warn("at the end")
		j.Close()
		if got := bare(out.text()); len(got) != 5 {
			t.Errorf("after Close: %q", got)
		}
		l.Warn("after the end")
		if got := bare(out.text()); len(got) != 6 {
			t.Errorf("a record after Close is lost: %q", got)
		}
		j.Flush()
		j.Close()
	})
}

// slow is a stream that can be held.
type slow struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	hold chan struct{}
}

func (s *slow) Write(p []byte) (int, error) {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *slow) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// TestQueueIsBounded holds the writer: components wait once, then records are
// counted as lost, and the log tells so when it goes on.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slow{hold: make(chan struct{})}
		j := open(t, Config{Stderr: out})
		l := j.For("smtp")
		long := strings.Repeat("x", maxValue)
		l.Error("first")
		synctest.Wait() // the writer is held now
		began := time.Now()
		n := 2 * maxQueue / maxValue
		for range n {
			l.Warn("much", "text", long)
		}
		if d := time.Since(began); d != maxWait {
			t.Errorf("waited %v want %v", d, maxWait)
		}
		lost := j.queue.lostTotal.Load()
		if lost < int64(n/3) || lost > int64(n*2/3) {
			t.Errorf("lost %d of %d", lost, n)
		}
		close(out.hold)
		time.Sleep(time.Second)
		synctest.Wait()
		l.Warn("goes on")
		if err := j.Close(); err == nil {
			t.Error("Close does not tell about lost records")
		}
		got := bare(out.text())
		if len(got) != n-int(lost)+3 {
			t.Errorf("got %d records want %d", len(got), n-int(lost)+3)
		}
		want := fmt.Sprintf("1 log records lost, the log could not be written count=%d", lost)
		if got[len(got)-2] != want || got[len(got)-1] != "3 smtp goes on" {
			t.Errorf("got %q want %q", got[len(got)-2:], want)
		}
	})
}

// failing is a sink that takes some records only.
type failing struct {
	mu      sync.Mutex
	take    int
	written []string
}

func (f *failing) write(b *batch) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := 0
	for i, m := range b.marks {
		if f.take == 0 {
			return i, errors.New("disk full")
		}
		f.take--
		f.written = append(f.written, bare(string(b.buf[at:m.end]))...)
		at = m.end
	}
	return len(b.marks), nil
}

func (f *failing) close() error { return nil }

func (f *failing) allow(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.take = n
}

func (f *failing) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.written)
}

func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stderr := &slow{}
		j := &Journal{
			encoder: textEncoder{}, now: time.Now, stderr: stderr, base: 3,
			done: make(chan struct{}), stop: make(chan struct{}),
			components: map[string]*component{},
		}
		j.queue.init()
		j.limiter.init(j.now)
		out := &failing{take: 2}
		go j.run(out)
		l := j.For("smtp")
		for i := range 4 {
			l.Error("record", "n", i)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		l.Error("record", "n", 4)
		synctest.Wait()
		if len(out.seen()) != 2 || strings.Count(stderr.text(), "disk full") != 1 {
			t.Errorf("written %q, told %q", out.seen(), stderr.text())
		}
		out.allow(100)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		var want []string
		for i := range 5 {
			want = append(want, fmt.Sprintf("1 smtp record n=%d", i))
		}
		if diff := cmp.Diff(want, out.seen()); diff != "" {
			t.Error(diff)
		}
		out.allow(0)
		l.Error("last")
		if err := j.Close(); err == nil || !strings.Contains(stderr.text(), "1 smtp last") {
			t.Errorf("close: %v, standard error: %s", err, stderr.text())
		}
	})
}

func TestHalfRecordIsCutOff(t *testing.T) {
	dir := t.TempDir()
	f, err := openFiles(dir, func() time.Duration { return 0 }, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.file.WriteString("one\ntwo\nthr")
	b := &batch{buf: []byte("one\ntwo\nthree\n"), marks: []mark{{end: 4}, {end: 8}, {end: 14}}}
	f.endHalf(11, 2, 0, b)
	if got := lines(t, f.file.Name()); !cmp.Equal(got, []string{"one", "two"}) {
		t.Errorf("got %q", got)
	}
	b.drop(2)
	if string(b.buf) != "three\n" || !cmp.Equal(b.marks[0].end, 6) {
		t.Errorf("left %q %v", b.buf, b.marks)
	}
}

func TestJournald(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such sockets")
	}
	path := filepath.Join(t.TempDir(), "socket")
	listen := func() *net.UnixConn {
		os.Remove(path)
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	read := func(c *net.UnixConn) string {
		t.Helper()
		buf := make([]byte, 4096)
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	conn := listen()
	j := open(t, Config{Target: "journald", JournalSocket: path, Stderr: &bytes.Buffer{}})
	j.For("smtp").Error("refused", "to", "x")
	want := "SYSLOG_IDENTIFIER=postrider\nPRIORITY=3\nPOSTRIDER_LEVEL=1\n" +
		"MESSAGE\n\x13\x00\x00\x00\x00\x00\x00\x001 smtp refused to=x\n"
	if got := read(conn); got != want {
		t.Errorf("got %q want %q", got, want)
	}
	conn.Close()
	conn = listen()
	defer conn.Close()
	j.For("smtp").Warn("after a restart of journald")
	if got := read2(t, j, read, conn); !strings.Contains(got, "PRIORITY=4") {
		t.Errorf("got %q", got)
	}
	j.Close()

	var out bytes.Buffer
	j = open(t, Config{Target: "journald", JournalSocket: path + "-none", Stderr: &out})
	j.For("smtp").Error("refused")
	j.For("smtp").Log(t.Context(), Major, "started")
	j.Close()
	if got := out.String(); got != "<3>1 smtp refused\n<5>2 smtp started\n" {
		t.Errorf("got %q", got)
	}
}

func read2(t *testing.T, j *Journal, read func(*net.UnixConn) string, c *net.UnixConn) string {
	t.Helper()
	j.Flush()
	return read(c)
}

func TestNewErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	for name, c := range map[string]Config{
		"unknown target":         {Target: "paper"},
		"no directory":           {Target: "files"},
		"directory under a file": {Target: "files", Directory: filepath.Join(file, "log")},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Target: "files", Directory: dir})
	var wg sync.WaitGroup
	for i := range 8 {
		l := j.For(fmt.Sprint("c", i%3))
		wg.Go(func() {
			for n := range 500 {
				l.Error("record", "n", n)
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	days, _ := listDays(dir)
	n := 0
	for _, day := range days {
		n += len(lines(t, filepath.Join(dir, fileName(day))))
	}
	if n != 4000 {
		t.Errorf("got %d records want 4000", n)
	}
}

func BenchmarkDisabled(b *testing.B) {
	j, _ := New(Config{})
	defer j.Close()
	l := j.For("smtp")
	b.ReportAllocs()
	for b.Loop() {
		l.Debug("command")
	}
}

func BenchmarkEnabled(b *testing.B) {
	j, _ := New(Config{Target: "files", Directory: b.TempDir(), Level: 5})
	defer j.Close()
	l := j.For("smtp").With("session", "0123456789abc")
	b.ReportAllocs()
	for b.Loop() {
		l.LogAttrs(b.Context(), Low, "message accepted", slog.String("from", "a@example.org"),
			slog.Int("size", 4096), slog.String("id", "0123456789abcdef"))
	}
}
