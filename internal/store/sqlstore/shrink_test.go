package sqlstore

import "testing"

// A store at rest gives its cache back and goes on as before.
func TestShrink(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	defer s.Close()
	ids := addUsers(t, s, 3)
	cache := func() (used int) {
		t.Helper()
		s.committer.pause(func() {
			row := s.committer.conn.QueryRowContext(t.Context(), "PRAGMA cache_size")
			if err := row.Scan(&used); err != nil {
				t.Error(err)
			}
		})
		return used
	}
	before := cache()
	for range 3 {
		for _, id := range ids {
			if _, err := deliver(s, []byte("Subject: x\r\n\r\nHello\r\n"), id); err != nil {
				t.Fatal(err)
			}
		}
		s.shrink(t.Context())
	}
	if got := cache(); got != before {
		t.Errorf("the cache may hold %d now, want %d", got, before)
	}
	problems, err := s.Check(t.Context(), false, nil)
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v", problems, err)
	}
}
