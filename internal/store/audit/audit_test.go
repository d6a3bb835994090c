package audit_test

import (
	"path/filepath"
	"strings"
	"testing"

	"postrider/internal/blob/volume"
	"postrider/internal/store/audit"
	"postrider/internal/store/sqldb"
	"postrider/internal/store/sqlstore"
)

// An audit that walked through all messages for every account would never
// end on a large server. What it finds and mends is tested in sqlstore.
func TestUsesIndexes(t *testing.T) {
	dir := t.TempDir()
	blobs, err := volume.Open(volume.Config{Dirs: []string{filepath.Join(dir, "volumes")}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "db")
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Blobs: blobs, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db, err := sqldb.SQLite{}.Open(path, 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`EXPLAIN QUERY PLAN `+audit.EntryQuery, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	steps := 0
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps++
		if !strings.HasPrefix(step, "SEARCH ") {
			t.Errorf("the plan has %q, want searches only", step)
		}
	}
	if steps == 0 {
		t.Error("there is no plan")
	}
}
