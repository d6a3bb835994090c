package setup

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"postrider/internal/datadir"
	"postrider/internal/service"
)

// Where nothing starts services the directory is given to a user of the
// server's own all the same; where that cannot be, it is said.
func TestUnmanaged(t *testing.T) {
	dir, _, err := datadir.Make(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	var ran []string
	i := service.Installer{Run: func(_ context.Context, name string, args ...string) (string, error) {
		ran = append(ran, name+" "+strings.Join(args, " "))
		return "", nil
	}}
	const nobody = "no-such-user-here"
	s := unmanaged(t.Context(), i, "freebsd", dir, nobody)
	if len(ran) != 1 || !strings.HasPrefix(ran[0], "pw useradd "+nobody) {
		t.Errorf("ran %q, want pw useradd", ran)
	}
	// The recorder has made nobody, so the directory cannot be his.
	if s.User != "" || !strings.Contains(s.Note, "would run as root") {
		t.Errorf("got %+v", s)
	}
	me, err := user.Lookup("nobody")
	if err != nil || os.Geteuid() != 0 {
		return
	}
	s = unmanaged(t.Context(), i, "linux", dir, me.Username)
	if s.User != me.Username || datadir.Owner(dir.Path()) != me.Username ||
		!strings.Contains(strings.Join(s.Lines(), " "), "runs as "+me.Username) {
		t.Errorf("got %+v, owner %q", s, datadir.Owner(dir.Path()))
	}
}
