//go:build unix

package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/engine"
)

// roleVariable makes the test program a server, with a role in JSON.
const roleVariable = "POSTRIDER_TEST_ROLE"

// A role is what the test program does in another process.
type role struct {
	Dir     string
	Sets    []string
	Config  string
	Confine bool
	Descend bool
}

func TestMain(m *testing.M) {
	text := os.Getenv(roleVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var r role
	err := json.Unmarshal([]byte(text), &r)
	if err == nil {
		err = r.serve(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve runs a server until standard input ends. It says READY and a line
// for each listener, then answers "read PATH" and "write PATH".
func (r *role) serve(ctx context.Context) error {
	dir, _, err := datadir.Make(r.Dir)
	if err != nil {
		return err
	}
	if r.Descend {
		reg, _, err := engine.Settings(engine.Config{Dir: dir, Set: r.Sets})
		if err != nil {
			return err
		}
		if err := Descend(ctx, reg, dir); err != nil {
			return err
		}
	}
	lock, err := dir.Lock()
	if err != nil {
		return err
	}
	defer lock.Release()
	s, err := New(ctx, Options{Dir: dir, Sets: r.Sets, Config: r.Config, Confine: r.Confine,
		Stderr: os.Stderr})
	if err != nil {
		return err
	}
	if err = s.Listen(ctx); err == nil {
		err = s.Start(ctx)
	}
	if err == nil {
		err = r.answer(ctx, s)
	}
	if stopped := s.Shutdown(ctx); err == nil {
		err = stopped
	}
	return err
}

func (r *role) answer(ctx context.Context, s *Server) error {
	st, err := s.Status(ctx)
	if err != nil {
		return err
	}
	for _, l := range st.Listeners {
		fmt.Println(l.Service, l.Address)
	}
	for _, ln := range s.scrape {
		fmt.Println(metricsService, ln.Addr())
	}
	password := ""
	if f := s.First(); f != nil {
		password = f.Password
	}
	fmt.Println("READY", os.Getpid(), os.Getuid(), password)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		verb, path, _ := strings.Cut(in.Text(), " ")
		if verb == "read" {
			_, err = os.ReadFile(path)
		} else {
			err = os.WriteFile(path, []byte("x"), 0o600)
		}
		fmt.Println(err)
	}
	return in.Err()
}

// A process is a server in a process of its own.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Scanner
	services map[string]string
	pid, uid int
	password string
	ended    bool
}

// launch starts the test program in a role. Command is what to run, its
// argument "$0" being the program.
func launch(t *testing.T, cmd *exec.Cmd, r role) *process {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), roleVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	p := &process{t: t, cmd: cmd, services: map[string]string{}}
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end() })
	p.out = bufio.NewScanner(out)
	for p.out.Scan() {
		words := strings.Split(p.out.Text(), " ")
		if words[0] == "READY" {
			p.pid, _ = strconv.Atoi(words[1])
			p.uid, _ = strconv.Atoi(words[2])
			p.password = words[3]
			return p
		}
		p.services[words[0]] = words[1]
	}
	t.Fatal("the process did not come up")
	return nil
}

// ask has the process read or write a file, and gives the error.
func (p *process) ask(verb, path string) string {
	p.t.Helper()
	fmt.Fprintln(p.in, verb, path)
	if !p.out.Scan() {
		p.t.Fatal("the process does not answer")
	}
	return p.out.Text()
}

// end stops the process, which must succeed.
func (p *process) end() {
	if p.ended {
		return
	}
	p.ended = true
	p.in.Close()
	timer := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.cmd.Wait(); err != nil {
		p.t.Error("the process:", err)
	}
}

func program(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Sockets come by name, or by the address that is configured; what nobody
// wants is closed.
func TestSocketActivation(t *testing.T) {
	var files []*os.File
	var addresses []string
	for range 4 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files, addresses = append(files, f), append(addresses, ln.Addr().String())
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=4 `+
		`LISTEN_FDNAMES=smtp:unknown:metrics:stray exec "$0"`, program(t))
	cmd.ExtraFiles = files
	p := launch(t, cmd, role{Dir: filepath.Join(t.TempDir(), "data"), Sets: []string{
		"pop.listen=" + addresses[1], "submission.listen=", "submissions.listen=", "pops.listen=",
		"metrics.listen=127.0.0.1:1", "log.target=stderr", "log.level=1"}})
	want := map[string]string{"smtp": addresses[0], "pop": addresses[1], "metrics": addresses[2]}
	for name, address := range want {
		if got := p.services[name]; got != address {
			t.Errorf("%s: got %s, want %s", name, got, address)
		}
	}
	dial(t, addresses[0]).want("", "220")
	dial(t, addresses[1]).want("", "+OK")
	p.end()
}

// Variables that are meant for another process are none of ours.
func TestInheritOthers(t *testing.T) {
	for _, env := range []map[string]string{{},
		{"LISTEN_PID": "1", "LISTEN_FDS": "2"},
		{"LISTEN_PID": strconv.Itoa(os.Getpid()), "LISTEN_FDS": "rubbish"},
		{"LISTEN_PID": strconv.Itoa(os.Getpid()), "LISTEN_FDS": "0"}} {
		in, err := inherit(func(name string) string { return env[name] })
		if err != nil || len(in.byAddr) > 0 {
			t.Errorf("%v: got %v, %v", env, in, err)
		}
	}
}

// A process of root opens the low ports, becomes server.user and serves
// from a directory that is that user's.
func TestDescend(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	name := "daemon"
	u, err := user.Lookup(name)
	if err != nil {
		t.Skip("there is no user " + name)
	}
	dir, err := os.MkdirTemp("", "pr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// The program must be readable to everybody, which the one of the test
	// is not.
	copied := filepath.Join(dir, "postrider")
	text, err := os.ReadFile(program(t))
	if err == nil {
		err = os.WriteFile(copied, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	low, lmtp, data := lowPort(t), filepath.Join(dir, "lmtp"), filepath.Join(dir, "data")
	r := role{Dir: data, Descend: true, Sets: []string{"server.user=" + name, "smtp.listen=" + low,
		"pop.listen=127.0.0.1:0", "lmtp.listen=unix:" + lmtp, "submission.listen=",
		"submissions.listen=", "pops.listen=", "log.level=1"}}
	for _, when := range []string{"first", "again, over what root left"} {
		t.Run(when, func(t *testing.T) {
			cmd := exec.Command(copied)
			p := launch(t, cmd, r)
			if p.pid != cmd.Process.Pid || strconv.Itoa(p.uid) != u.Uid {
				t.Errorf("got process %d of user %d, want %d of %s", p.pid, p.uid, cmd.Process.Pid, u.Uid)
			}
			c := dial(t, low)
			c.want("", "220")
			c.want("HELO client.test", "250")
			c.deliver("postmaster", "Subject: x\r\n\r\nHello")
			dial(t, "unix:"+lmtp).want("", "220")
			dial(t, p.services["pop"]).want("", "+OK")
			p.end()
			owned(t, data, p.uid)
			if err := chownAll(data); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// lowPort is an address on loopback that only root may open.
func lowPort(t *testing.T) string {
	t.Helper()
	for port := 1000; port > 900; port-- {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if ln, err := net.Listen("tcp", address); err == nil {
			ln.Close()
			return address
		}
	}
	t.Skip("no low port can be opened here")
	return ""
}

func owned(t *testing.T, dir string, uid int) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		files++
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid {
			t.Errorf("%s belongs to %d, want %d", path, st.Uid, uid)
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("got %d files, %v", files, err)
	}
}

func chownAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, 0, 0)
	})
}

// What is given away never lies outside of the directory, and never has
// another name there.
func TestGiveAway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir, out := filepath.Join(t.TempDir(), "data"), t.TempDir()
	for _, path := range []string{filepath.Join(dir, "volumes"), filepath.Join(out, "sub")} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{dir + "/db", dir + "/volumes/1", out + "/hard", out + "/soft",
		out + "/sub/file", dir + "/other"} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{os.Link(out+"/hard", dir+"/hard"),
		os.Symlink(out+"/soft", dir+"/soft"), os.Symlink(out+"/sub", dir+"/sub"),
		os.Lchown(dir+"/other", 3, 3)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := giveAway(dir, 2, 2); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]uint32{dir: 2, dir + "/db": 2, dir + "/volumes": 2,
		dir + "/volumes/1": 2, dir + "/hard": 0, dir + "/soft": 0, dir + "/sub": 0,
		dir + "/other": 3, out + "/hard": 0, out + "/soft": 0, out + "/sub/file": 0} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != want {
			t.Errorf("%s: got owner %d, want %d", path, got, want)
		}
	}
}

// A confined server does all it has to, and reads and writes nothing else.
func TestConfined(t *testing.T) {
	if runtime.GOOS != "linux" || !hasLandlock() {
		t.Skip("this kernel has no Landlock")
	}
	base, elsewhere := t.TempDir(), t.TempDir()
	cert, secret := filepath.Join(base, "tls", "cert.pem"), filepath.Join(elsewhere, "secret")
	if err := os.MkdirAll(filepath.Dir(cert), 0o700); err != nil {
		t.Fatal(err)
	}
	certificate(t, cert, "one.test")
	certificate(t, secret, "secret.test")
	data := filepath.Join(base, "data")
	p := launch(t, exec.Command(program(t)), role{Dir: data, Confine: true, Sets: []string{
		"smtp.listen=127.0.0.1:0", "pop.listen=127.0.0.1:0", "pops.listen=127.0.0.1:0",
		"submission.listen=", "submissions.listen=", "metrics.listen=127.0.0.1:0",
		"store.volume_size=1M", "tls.key=" + cert}, Config: filepath.Join(base, "config.toml")}.
		with(t, "[tls]\ncertificate = [\""+cert+"\"]\n"))
	for _, ask := range []struct{ verb, path, want string }{
		{"read", secret, "permission denied"}, {"write", filepath.Join(elsewhere, "x"),
			"permission denied"}, {"write", cert, "permission denied"}, {"read", "/etc/passwd", "<nil>"},
		{"read", filepath.Join(data, "postrider.db"), "<nil>"}, {"write", filepath.Join(data, "x"),
			"<nil>"}, {"write", filepath.Join(data, "volumes", "x"), "<nil>"}} {
		if got := p.ask(ask.verb, ask.path); !strings.HasSuffix(got, ask.want) {
			t.Errorf("%s %s: got %s, want %s", ask.verb, ask.path, got, ask.want)
		}
	}
	os.Remove(filepath.Join(data, "volumes", "x"))
	c := dial(t, p.services["smtp"])
	c.want("", "220")
	c.want("EHLO client.test", "250")
	for i := range 5 { // more than one volume holds
		c.deliver("postmaster", fmt.Sprintf("Subject: %d\r\n\r\n%s", i,
			strings.Repeat(strings.Repeat("x", 76)+"\r\n", 8000)))
	}
	c.deliver("postmaster", "Subject: small\r\n\r\nHello")
	r := dial(t, p.services["pop"])
	r.want("", "+OK")
	if got := r.read("postmaster", p.password); !strings.Contains(got, "Subject: small") {
		t.Errorf("got %s", got)
	}
	p.reloadConfined(data, cert, secret)
	p.end()
	if _, err := os.Stat(filepath.Join(data, "state.json")); err != nil {
		t.Error("no snapshot:", err)
	}
	if _, err := os.Stat(filepath.Join(data, "control.sock")); err == nil {
		t.Error("the control socket is left behind")
	}
	volumes, err := filepath.Glob(filepath.Join(data, "volumes", "*"))
	if err != nil || len(volumes) < 3 {
		t.Errorf("got volumes %q, %v", volumes, err)
	}
}

// with gives the role a settings file.
func (r role) with(t *testing.T, text string) role {
	t.Helper()
	if err := os.WriteFile(r.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// reloadConfined changes certificates and settings of a confined server.
func (p *process) reloadConfined(data, cert, secret string) {
	t := p.t
	t.Helper()
	dir, err := datadir.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, dir: dir}
	shown := func() string {
		c := newClient(t, dial(t, p.services["pops"]).conn).secure()
		return c.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	certificate(t, cert, "two.test")
	logs, err := filepath.Glob(filepath.Join(data, "log", "*.log"))
	if err != nil || len(logs) != 1 || os.Remove(logs[0]) != nil {
		t.Errorf("got log files %q, %v", logs, err)
	}
	if notes, err := f.reload(); err != nil || len(notes) > 0 {
		t.Errorf("got %q, %v", notes, err)
	}
	if got := shown(); got != "two.test" {
		t.Errorf("after a reload: got %s, want two.test", got)
	}
	config := filepath.Join(filepath.Dir(data), "config.toml")
	role{Config: config}.with(t, "[tls]\ncertificate = [\""+secret+"\"]\n[smtp]\nmax_size = \"2M\"\n")
	notes, err := f.reload()
	if err != nil || !slices.Equal(notes, []string{
		"tls.certificate needs restart", "tls.key needs restart"}) {
		t.Errorf("certificates elsewhere: got %q, %v", notes, err)
	}
	var st control.ServerStatus
	if err := f.call("server.status", control.None{}, &st); err != nil ||
		!slices.Equal(st.NeedRestart, []string{"tls.certificate", "tls.key"}) {
		t.Errorf("got %q, %v", st.NeedRestart, err)
	}
	if got := shown(); got != "two.test" {
		t.Errorf("certificates elsewhere: got %s, want two.test", got)
	}
	var list control.SettingsListReply
	err = f.call("settings.list", control.SettingRequest{Key: "smtp.max_size"}, &list)
	if err != nil || list.Settings[0].Value != "2M" {
		t.Errorf("got %+v, %v", list, err)
	}
	// What cannot be tried is not taken, whether it is right or not.
	role{Config: config}.with(t, "[smtp]\nmax_size = \"2M\"\n")
	f.reload() // tls.key is fixed by a flag, so that nothing fits now
	err = f.trySet("tls.certificate", secret)
	if err == nil || !strings.Contains(err.Error(), "stop it, set this") {
		t.Errorf("a certificate that cannot be tried: got %v", err)
	}
	deadline := time.Now().Add(patience)
	for logs, _ = filepath.Glob(filepath.Join(data, "log", "*.log")); len(logs) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the log file is not made again")
		}
		time.Sleep(time.Millisecond)
		logs, _ = filepath.Glob(filepath.Join(data, "log", "*.log"))
	}
	if _, got := scrape(t, p.services["metrics"], ""); !strings.Contains(got, "process_resident_memory") {
		t.Error("the metrics lack the process")
	}
}
