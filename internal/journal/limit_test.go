package journal

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slow{}
		j := open(t, Config{Stderr: out, Level: 1})
		l := j.For("smtp").With("session", "s1")
		ctx := t.Context()
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1:2:3:4")
		for i := range 25 {
			written := Refused(ctx, l, a, "recipient refused", slog.Int("n", i))
			if written != (i < limitBurst) {
				t.Errorf("record %d: got written %t", i, written)
			}
		}
		Refused(ctx, l, a, "return path refused")
		Refused(ctx, j.For("pop"), a, "recipient refused")
		for i := range 13 {
			Refused(ctx, l, b, "recipient refused", slog.Int("n", i))
			b = b.Next() // another address of the same /64
		}
		j.Flush()
		var want []string
		for i := range limitBurst {
			want = append(want, fmt.Sprintf("1 smtp recipient refused session=s1 n=%d", i))
		}
		want = append(want, "1 smtp return path refused session=s1", "1 pop recipient refused")
		want = append(want, want[:limitBurst]...)
		got := bare(out.text())
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		time.Sleep(limitWindow + 2*time.Second)
		synctest.Wait()
		j.Flush()
		since := time.Now().Add(-limitWindow - 2*time.Second).Format(timeForm)
		sums := bare(out.text())[len(want):]
		slices.Sort(sums)
		wantSums := []string{
			"1 smtp recipient refused: similar records suppressed count=15 since=" + since +
				" peer=192.0.2.1",
			"1 smtp recipient refused: similar records suppressed count=3 since=" + since +
				" peer=2001:db8::/64",
		}
		slices.SortFunc(wantSums, strings.Compare)
		if diff := cmp.Diff(wantSums, sums); diff != "" {
			t.Error(diff)
		}
		if n := len(j.limiter.counts); n != 0 {
			t.Errorf("%d sources are remembered for nothing", n)
		}
		before := len(bare(out.text()))
		for range limitBurst + 2 {
			Refused(ctx, l, a, "recipient refused")
		}
		j.Close()
		if got := len(bare(out.text())) - before; got != limitBurst+1 {
			t.Errorf("in the next window %d records, want %d with the count at Close",
				got, limitBurst+1)
		}
	})
}

// TestManySources proves that memory and log are bounded when each record
// comes from another address.
func TestManySources(t *testing.T) {
	var out bytes.Buffer
	j := open(t, Config{Stderr: &out})
	l := j.For("smtp")
	a := netip.MustParseAddr("10.0.0.0")
	for range 3 * limitSources {
		a = a.Next()
		Refused(t.Context(), l, a, "login refused")
	}
	if n := len(j.limiter.counts); n > limitSources+1 {
		t.Errorf("%d sources are remembered", n)
	}
	j.Close()
	if n := len(bare(out.String())); n != limitSources+limitBurst+1 {
		t.Errorf("%d records are written, want %d", n, limitSources+limitBurst+1)
	}
}

func TestRefusedWithForeignLogger(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(slog.NewTextHandler(&out, nil))
	for range limitBurst + 5 {
		Refused(context.Background(), l, netip.Addr{}, "refused")
	}
	if got := strings.Count(out.String(), "refused"); got != limitBurst+5 {
		t.Errorf("got %d records", got)
	}
}

func TestMetrics(t *testing.T) {
	j := open(t, Config{Stderr: &bytes.Buffer{}})
	defer j.Close()
	j.For("smtp").Error("x")
	m := NewMetrics("1.2.3")
	m.MustRegister(j)
	token := ""
	h := m.Handler(func() string { return token })
	get := func(path, auth string) (int, string) {
		r := httptest.NewRequest("GET", path, nil)
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	code, body := get("/metrics", "")
	for _, want := range []string{
		`postrider_build_info{version="1.2.3"} 1`, "go_goroutines ",
		`postrider_log_records_total{component="smtp",level="1"} 1`,
		"postrider_log_records_lost_total 0",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if code != http.StatusOK {
		t.Errorf("got %d", code)
	}
	token = "sesame"
	for auth, want := range map[string]int{
		"": 401, "Bearer sesam": 401, "Basic sesame": 401, "sesame": 401,
		"Bearer sesame": 200, "bearer sesame": 200,
	} {
		if code, _ := get("/metrics", auth); code != want {
			t.Errorf("%q: got %d want %d", auth, code, want)
		}
	}
	if code, _ := get("/", "Bearer sesame"); code != 404 {
		t.Errorf("another path: got %d", code)
	}
}
