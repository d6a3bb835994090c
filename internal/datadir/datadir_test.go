package datadir

import (
	"bufio"
	"context"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"postrider/internal/mail"
)

func made(t *testing.T, path string) *Dir {
	t.Helper()
	d, fresh, err := Make(path)
	if err != nil || !fresh {
		t.Fatalf("Make: %v, fresh %v", err, fresh)
	}
	return d
}

func TestMakeAndOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "data")
	if _, err := Open(path); mail.KindOf(err) != mail.Unreachable {
		t.Errorf("Open before Make: got %v, want kind Unreachable", err)
	}
	d := made(t, path)
	again, fresh, err := Make(path)
	if err != nil || fresh || again.ID() != d.ID() {
		t.Errorf("second Make: got id %v fresh %v err %v, want %v", again, fresh, err, d.ID())
	}
	if runtime.GOOS == "windows" {
		return
	}
	for name, want := range map[string]os.FileMode{
		".": 0o700, "control.token": 0o600, marker: 0o600,
	} {
		info, err := os.Stat(filepath.Join(path, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestMakeLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	if Nascent(path) {
		t.Error("it is nascent before it exists")
	}
	d, lock, err := MakeLocked(path)
	if err != nil || Nascent(path) {
		t.Fatalf("got %v, nascent %v", err, Nascent(path))
	}
	if _, _, err := MakeLocked(path); mail.KindOf(err) != mail.Locked {
		t.Errorf("a second one: got %v, want kind Locked", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	again, lock, err := MakeLocked(path)
	if err != nil || again.ID() != d.ID() {
		t.Fatalf("after its release: got %v, %v; want %s", again, err, d.ID())
	}
	lock.Release()
}

func TestMakeRefusesForeignDirectory(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Make(path); mail.KindOf(err) != mail.Conflict {
		t.Errorf("got %v, want kind Conflict", err)
	}
	if _, err := os.Stat(filepath.Join(path, "control.token")); err == nil {
		t.Error("a token was left in a foreign directory")
	}
}

func TestSearchOrder(t *testing.T) {
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	for _, name := range []string{"flag", "variable", "local", "installed"} {
		made(t, at(name))
	}
	if err := os.Mkdir(at("foreign"), 0o700); err != nil {
		t.Fatal(err)
	}
	full := Search{at("flag"), at("variable"), at("local"), at("installed")}
	tests := []struct {
		name  string
		s     Search
		want  string // of Find; empty for an error
		place string
	}{
		{"flag first", full, "flag", "flag"},
		{"then variable", Search{"", at("variable"), at("local"), at("installed")},
			"variable", "variable"},
		{"then local", Search{"", "", at("local"), at("installed")}, "local", "local"},
		{"foreign local", Search{"", "", at("foreign"), at("installed")}, "installed", "installed"},
		{"installed not yet ours", Search{"", "", at("none"), at("foreign")}, "", "foreign"},
		{"nothing", Search{"", "", at("none"), at("nor")}, "", "none"},
		{"flag does not fall back", Search{at("none"), at("variable"), "", ""}, "", "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if d, err := tt.s.Find(); err == nil {
				got = filepath.Base(d.Path())
			} else if mail.KindOf(err) != mail.Unreachable {
				t.Errorf("got %v, want kind Unreachable", err)
			}
			if got != tt.want {
				t.Errorf("Find: got %q, want %q", got, tt.want)
			}
			if got := filepath.Base(tt.s.Place()); got != tt.place {
				t.Errorf("Place: got %q, want %q", got, tt.place)
			}
		})
	}
}

func TestLockHeldByAnotherProcess(t *testing.T) {
	if path := os.Getenv("POSTRIDER_TEST_LOCK"); path != "" {
		holdLock(t, path)
		return
	}
	d := made(t, filepath.Join(t.TempDir(), "data"))
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockHeldByAnotherProcess$")
	cmd.Env = append(os.Environ(), "POSTRIDER_TEST_LOCK="+d.Path())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process said %q", line)
	}
	if _, err := d.Lock(); mail.KindOf(err) != mail.Locked {
		t.Errorf("while held: got %v, want kind Locked", err)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	l, err := d.Lock()
	if err != nil {
		t.Fatalf("after its end: %v", err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}

// holdLock is the other process: it holds the lock until its input ends.
func holdLock(t *testing.T, path string) {
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(); err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("held\n")
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0) // without a release: the lock must end by itself
}

func TestSocket(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("deep", 30))
	for name, path := range map[string]string{"short": filepath.Join(shortDir(t), "d"), "long": deep} {
		t.Run(name, func(t *testing.T) {
			d := made(t, path)
			ctx := context.Background()
			if _, err := d.Dial(ctx); mail.KindOf(err) != mail.Unreachable {
				t.Errorf("before Listen: got %v, want kind Unreachable", err)
			}
			// The first listener is left as by a crash; the second replaces it.
			first, err := d.Listen()
			if err != nil {
				t.Fatal(err)
			}
			_, left := d.address()
			ln, err := d.Listen()
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			go func() {
				if c, err := ln.Accept(); err == nil {
					c.Write([]byte("hello"))
					c.Close()
				}
			}()
			c, err := d.Dial(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := io.ReadAll(c); string(got) != "hello" {
				t.Errorf("got %q, want hello", got)
			}
			c.Close()
			if network, addr := d.address(); network == "unix" && name == "long" {
				checkPrivate(t, addr)
				if _, err := os.Stat(filepath.Dir(left)); err == nil {
					t.Errorf("the directory of the crashed server is still there")
				}
			}
			ln.Close()
			if _, err := os.Stat(d.addressFile()); err == nil {
				t.Error("control.addr is still there after Close")
			}
		})
	}
}

// A directory with a long path is served even where no temporary directory
// can be made.
func TestSocketWithoutTemp(t *testing.T) {
	d := made(t, filepath.Join(t.TempDir(), strings.Repeat("deep", 30)))
	t.Setenv("TMPDIR", filepath.Join(d.Path(), "none"))
	t.Setenv("TMP", filepath.Join(d.Path(), "none"))
	ln, err := d.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if addr, ok := ln.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		t.Errorf("got %v, want a port on loopback", ln.Addr())
	}
}

// shortDir is a temporary directory whose path leaves room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func checkPrivate(t *testing.T, socket string) {
	t.Helper()
	info, err := os.Stat(filepath.Dir(socket))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory of the socket: got %v %v, want 0700", info, err)
	}
}

func TestToken(t *testing.T) {
	d := made(t, filepath.Join(t.TempDir(), "data"))
	token, err := d.Token()
	if err != nil || len(token) != 2*tokenSize {
		t.Errorf("got %q, %v", token, err)
	}
	if err := os.WriteFile(d.tokenFile(), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Token(); mail.KindOf(err) != mail.Damaged {
		t.Errorf("empty token: got %v, want kind Damaged", err)
	}
}

func TestReadOnly(t *testing.T) {
	d := &Dir{path: "/srv/mail"}
	err := d.lockError(&fs.PathError{Op: "open", Path: d.lockFile(), Err: syscall.EROFS})
	want := "the data directory /srv/mail is on a read-only file system; copy it elsewhere to look into it"
	if mail.KindOf(err) != mail.Unreachable || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Where the system lets nobody in, serving fails as looking does.
func TestMakeUnreachable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, openErr := Open(file)
	_, _, makeErr := MakeLocked(file)
	for name, err := range map[string]error{"open": openErr, "make": makeErr} {
		if mail.KindOf(err) != mail.Unreachable {
			t.Errorf("%s: got %v, want Unreachable", name, err)
		}
	}
}
