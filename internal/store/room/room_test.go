package room

import (
	"testing"

	"postrider/internal/mail"
)

// What is more than the disk has is refused, what is little is taken, and a
// refusal uses nothing up.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	free, total, err := Free(dir)
	if err != nil || free <= 0 || total < free {
		t.Fatalf("got %d free of %d, %v", free, total, err)
	}
	g := New(dir)
	for range 3 {
		if err := g.Check(total); mail.KindOf(err) != mail.Full {
			t.Errorf("as much as the whole disk: got %v", err)
		}
	}
	if err := g.Check(1); free > 2*maxReserve && err != nil {
		t.Errorf("one byte: got %v", err)
	}
	// Where nobody can tell, the write itself will.
	if err := New("/no/such/directory").Check(total); err != nil {
		t.Errorf("got %v", err)
	}
}
