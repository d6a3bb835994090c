package record

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/mail"
)

var example = &Meta{Blob: 5, Received: time.UnixMicro(1_700_000_000_000_001), Sent: 7, Thread: -3,
	Trace: []byte("{}"), Targets: []Target{
		{Account: 1, Mailbox: 1, UID: 2, Email: 5, ModSeq: 9, Size: 10, Prefix: []byte("Received: x\r\n")},
		{Account: 2, Mailbox: 1, UID: 3, Email: 7, ModSeq: 9, Size: 10, Prefix: []byte("To: y\r\nReceived: x\r\n")},
		{Account: 2, Mailbox: 1, Email: 8, Size: 10, Prefix: []byte("x\r\n")},
		{Account: 3, Mailbox: 4, UID: 1<<32 - 1, Email: 6, ModSeq: 1 << 50, Flags: mail.Seen, Size: 1 << 40},
	}}

func TestRoundTrip(t *testing.T) {
	held := *example
	held.Due = time.UnixMicro(1_800_000_000_000_000)
	for _, m := range []*Meta{example, &held, {Received: time.UnixMicro(0)}} {
		got, err := Parse(m.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(got.Append(nil))
		if diff := cmp.Diff(got, again); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
		if got.Blob != m.Blob || !got.Received.Equal(m.Received) || len(got.Targets) != len(m.Targets) {
			t.Errorf("got %+v, want %+v", got, m)
		}
	}
	got, err := Parse(example.Append(nil))
	if err != nil || got.Targets[3].UID != 1<<32-1 || string(got.Targets[0].Prefix) != "Received: x\r\n" ||
		string(got.Targets[1].Prefix) != "To: y\r\nReceived: x\r\n" ||
		string(got.Targets[2].Prefix) != "x\r\n" || got.Targets[2].UID != 0 ||
		got.Targets[3].Flags != mail.Seen || got.Thread != -3 || string(got.Trace) != "{}" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Nothing that was cut or lengthened passes for whole.
func TestDamaged(t *testing.T) {
	whole := example.Append(nil)
	for n := range whole {
		if _, err := Parse(whole[:n]); mail.KindOf(err) != mail.Damaged {
			t.Errorf("cut at %d: got %v, want damage", n, err)
		}
	}
	if _, err := Parse(append(whole[:len(whole):len(whole)], 0)); mail.KindOf(err) != mail.Damaged {
		t.Errorf("lengthened: got %v, want damage", err)
	}
}

// What a thousand recipients share is kept once.
func TestSharedPrefix(t *testing.T) {
	m := &Meta{Received: time.UnixMicro(0)}
	for i := range 1000 {
		m.Targets = append(m.Targets, Target{Account: mail.AccountID(i), Mailbox: 1,
			Prefix: fmt.Appendf(nil, "Delivered-To: user%d\r\nReceived: %0400d\r\n", i, 7)})
	}
	b := m.Append(nil)
	if len(b) > 60_000 {
		t.Errorf("got %d bytes", len(b))
	}
	got, err := Parse(b)
	if diff := cmp.Diff(m.Targets, got.Targets); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// FuzzParse decodes what may be anything.
func FuzzParse(f *testing.F) {
	f.Add(example.Append(nil))
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(m.Append(nil))
		if diff := cmp.Diff(m, again); err != nil || diff != "" {
			t.Errorf("round trip: %v\n%s", err, diff)
		}
	})
}
