package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postrider/internal/datadir"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// twoDisks is a directory with a volume directory elsewhere and a message in
// each, closed again.
func twoDisks(t *testing.T) (dir *datadir.Dir, second string) {
	t.Helper()
	ctx, dir, second := context.Background(), newDir(t), filepath.Join(t.TempDir(), "disk2")
	e := openDir(t, Config{Dir: dir, Set: disks("volumes", second)})
	firstRun(t, e)
	for group := range 2 {
		ann := mail.Address{Local: fmt.Sprint("ann", group), Domain: "localhost"}
		err := e.Store.WriteAccounts(ctx, []store.AccountWrite{
			{Account: store.Account{Address: ann, Enabled: true, Volume: group}}})
		if err != nil {
			t.Fatal(err)
		}
		a, err := e.Store.Account(ctx, ann)
		if err != nil {
			t.Fatal(err)
		}
		d, err := e.Store.Blobs().NewDraft(ctx, group)
		if err != nil {
			t.Fatal(err)
		}
		d.Write([]byte("Subject: hello\r\n\r\nhello\r\n"))
		if err := d.Finish(ctx); err != nil {
			t.Fatal(err)
		}
		r, err := e.Store.Deliver(ctx, &store.Delivery{Body: d, Received: time.Now(),
			Targets: []store.Target{{Account: a.ID}}})
		if err != nil || r[0].Err != nil {
			t.Fatal(r, err)
		}
		d.Discard()
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, second
}

func disks(list ...string) []string { return []string{"store.volumes=" + strings.Join(list, ", ")} }

// A list of volume directories that cannot be right is refused with what is
// missing, at every start, until it is right again.
func TestVolumeDirectories(t *testing.T) {
	ctx := context.Background()
	dir, second := twoDisks(t)
	aside, third := second+".unmounted", filepath.Join(t.TempDir(), "disk3")
	for _, c := range []struct {
		name string
		set  []string
		away bool // the second disk is not mounted
		kind mail.Kind
		want []string
	}{
		{"removed", disks("volumes"), false, mail.Damaged, []string{second, "number 1"}},
		{"first removed", disks(second), false, mail.Conflict, []string{second, "number 1"}},
		{"reordered", disks(second, "volumes"), false, mail.Conflict, []string{second, "number 1"}},
		{"inserted", disks("volumes", third, second), false, mail.Conflict, []string{second, "number 1"}},
		{"not mounted", disks("volumes", second), true, mail.Damaged, []string{second + " holds no mail"}},
	} {
		if c.away {
			if err := os.Rename(second, aside); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // what one start leaves must not let the next one pass
			_, err := Open(ctx, Config{Dir: dir, Set: c.set, Quiet: true})
			if mail.KindOf(err) != c.kind {
				t.Fatalf("%s: got %v, want kind %v", c.name, err, c.kind)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v, want %q in it", c.name, err, want)
				}
			}
		}
		if c.away {
			os.RemoveAll(second)
			if err := os.Rename(aside, second); err != nil {
				t.Fatal(err)
			}
		}
	}
	e := openDir(t, Config{Dir: dir, Set: disks("volumes", second, third)})
	defer e.Close()
	if r := check(t, e, false); len(r.Problems) > 0 {
		t.Errorf("after all that: got %s", told(r.Problems))
	}
}

// A disk that is lost can be given up, once and for all, and no volume gets
// the number of a lost one.
func TestVolumesLost(t *testing.T) {
	ctx := context.Background()
	dir, second := twoDisks(t)
	lost, err := filepath.Glob(filepath.Join(second, "*.vol"))
	if err != nil || len(lost) == 0 {
		t.Fatal(lost, err)
	}
	if err := os.RemoveAll(second); err != nil {
		t.Fatal(err)
	}
	set := disks("volumes", second)
	if _, err := Open(ctx, Config{Dir: dir, Set: set, Quiet: true}); mail.KindOf(err) != mail.Damaged {
		t.Fatalf("got %v, want Damaged", err)
	}
	for _, repair := range []bool{true, false} {
		e := openDir(t, Config{Dir: dir, Set: set, Repair: repair})
		if r := check(t, e, false); r.Damaged != 1 {
			t.Errorf("repair %v: got %s, want one message damaged", repair, told(r.Problems))
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(lost[0]); err == nil {
		t.Errorf("%s was made anew", lost[0])
	}
}
