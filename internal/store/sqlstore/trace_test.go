package sqlstore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

// TestTraceOfMany proves that a delivery to more recipients than its trace
// spells out tells of those it does, at each step.
func TestTraceOfMany(t *testing.T) {
	s := openTest(t, t.TempDir(), quietly)
	defer s.Close()
	ids := addUsers(t, s, 2*targetsPerOp)
	d := letter(t, s, "for everybody", ids)
	told := d.Trace.Recipients
	job := promiseOnly(t, s, d)
	check := func(delivered, accepted int) {
		t.Helper()
		got := outcomes(t, s)
		if got["delivered"] != delivered || got["accepted"] != accepted {
			t.Errorf("got %v, want %d delivered, %d accepted", got, delivered, accepted)
		}
	}
	check(targetsPerOp/4, targetsPerOp/4)
	for part := range 2 {
		if err := s.inStep(finishPart(job.blob, part, 1, []byte("p"), nil)); err != nil {
			t.Fatal(err)
		}
	}
	check(len(told), 0)
	traces, err := s.Traces(t.Context(), store.TraceQuery{ID: "L1"})
	if err != nil || traces[0].More != len(ids)-len(told) {
		t.Errorf("got %+v, %v", traces, err)
	}
}

// TestJudgeOrder proves that outcomes find their recipients in any order.
func TestJudgeOrder(t *testing.T) {
	d := &delivery{Delivery: &store.Delivery{Trace: &store.Trace{}}}
	var results []store.Result
	for i := range 5 {
		d.Targets = append(d.Targets, store.Target{Account: mail.AccountID(i + 1)})
		results = append(results, store.Result{Email: mail.EmailID(10 + i), UID: 1})
	}
	results[1] = store.Result{Err: mail.Errorf(mail.OverQuota, "full")}
	for _, id := range []mail.AccountID{4, 0, 2, 2, 9, 1, 5} {
		d.Trace.Recipients = append(d.Trace.Recipients, store.TraceRecipient{Account: id})
	}
	d.judge(results)
	var got []string
	for _, r := range d.Trace.Recipients {
		got = append(got, fmt.Sprint(r.Account, r.Outcome, r.Email))
	}
	want := fmt.Sprint([]string{fmt.Sprint(4, "delivered", mail.EmailID(13)), fmt.Sprint(0, "", mail.EmailID(0)),
		fmt.Sprint(2, "deferred", mail.EmailID(0)), fmt.Sprint(2, "deferred", mail.EmailID(0)),
		fmt.Sprint(9, "", mail.EmailID(0)), fmt.Sprint(1, "delivered", mail.EmailID(10)),
		fmt.Sprint(5, "delivered", mail.EmailID(14))})
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestTracesExpire proves that old traces go, and the oldest of too many.
func TestTracesExpire(t *testing.T) {
	now := time.Now()
	keep, most := time.Duration(0), int64(0)
	s := openTest(t, t.TempDir(), func(cfg *Config) {
		cfg.Quiet = true
		cfg.Now = func() time.Time { return now }
		cfg.TraceKeep = func() time.Duration { return keep }
		cfg.TraceMax = func() int64 { return most }
	})
	defer s.Close()
	write := func(from, n int) {
		for i := range n {
			s.WriteTrace(&store.Trace{ID: fmt.Sprint(from + i), Time: now, Helo: strings.Repeat("h", 150)})
		}
		if err := s.flushTraces(); err != nil {
			t.Fatal(err)
		}
	}
	check := func(step string, low, high int, newest string) {
		t.Helper()
		if err := s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		all, err := s.Traces(t.Context(), store.TraceQuery{Limit: 5000})
		if err != nil || len(all) < low || len(all) > high || all[0].ID != newest {
			t.Fatalf("%s: got %d traces, %v; want %d to %d up to %s", step, len(all), err, low, high, newest)
		}
	}
	write(0, 1000)
	now = now.Add(time.Hour)
	write(1000, 1000)
	check("without limits", 2000, 2000, "1999")
	most = 300 << 10 // a row has 170 bytes
	if !s.tooManyTraces() {
		t.Errorf("%d bytes were written, and nobody would look", s.traced.Load())
	}
	check("new ones are not counted yet", 2000, 2000, "1999")
	now = now.Add(time.Hour)
	check("too many", 1600, 1900, "1999")
	most = 100 << 10
	check("far too many", 500, 650, "1999")
	write(2000, 500)
	now = now.Add(2 * settle)
	check("and new ones", 500, 650, "2499")
	most, keep = 0, time.Hour
	write(2500, 1)
	check("all old but one", 500, 501, "2500")
	now = now.Add(59 * time.Minute)
	check("only one is young enough", 1, 1, "2500")
}

// settle is how long traces are young, and not counted.
const settle = time.Minute
