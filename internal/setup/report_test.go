package setup

import (
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/datadir"
	"postrider/internal/service"
)

// The last point says how to start the server.
func TestTodo(t *testing.T) {
	for _, tt := range []struct {
		name   string
		report Report
		system string
		want   string
	}{
		{"a service", Report{Service: &Service{Start: "systemctl start postrider"}}, "linux",
			"Start the server: systemctl start postrider"},
		{"a service that is not there", Report{Service: &Service{Note: "none"}, DataDirectory: "/d"},
			"windows", "Start the server: postrider serve --data /d; or install it with " +
				`"postrider service install --data /d".`},
		{"it runs", Report{Restart: true}, "linux",
			"Start the server again, so that it listens on the new ports."},
		{"low ports are for root", Report{DataDirectory: "/d"}, "freebsd",
			"Start the server: postrider serve --data /d, as root because of the low ports; " +
				`or install it with "postrider service install --data /d".`},
		{"low ports are for all", Report{DataDirectory: "/d"}, "darwin",
			`Start the server: postrider serve --data /d; or install it with "postrider service install --data /d".`},
	} {
		list := todo(&tt.report, tt.system)
		if got := list[len(list)-1]; got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	list := strings.Join(todo(&Report{Domain: "example.org", Host: "mx.example.org",
		DataDirectory: "/d"}, "linux"), "\n")
	for _, want := range []string{"you@example.org", "certificate for mx.example.org", "secret.key"} {
		if !strings.Contains(list, want) {
			t.Errorf("%q is missing in\n%s", want, list)
		}
	}
}

// Every command names a directory that it would not find, and only that; and
// nobody is sent to a service manager that is not there.
func TestTodoCommands(t *testing.T) {
	installed := datadir.Installed("linux", os.Getenv)
	for dir, want := range map[string]int{"/d": 4, installed: 0} {
		list := strings.Join(todo(&Report{DataDirectory: dir}, "linux"), "\n")
		if got := strings.Count(list, " --data "+dir); got != want {
			t.Errorf("%s: got --data %d times, want %d:\n%s", dir, got, want, list)
		}
	}
	none := &Report{DataDirectory: "/d", Service: &Service{Note: service.ErrNone.Text + "; more"}}
	if list := strings.Join(todo(none, "linux"), "\n"); strings.Contains(list, "service install") {
		t.Errorf("without a manager: got\n%s", list)
	}
}

// What others cannot reach is in no record, and is warned of.
func TestDivide(t *testing.T) {
	public, others := divide([]netip.Addr{netip.MustParseAddr("127.0.0.1"),
		netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("10.0.0.5"),
		netip.MustParseAddr("fd00::1")})
	if len(public) != 1 || public[0].String() != "198.51.100.1" {
		t.Errorf("got %v as public", public)
	}
	told := strings.Join(hidden(others), "\n")
	for _, want := range []string{"127.0.0.1", "10.0.0.5", "fd00::1"} {
		if !strings.Contains(told, want) {
			t.Errorf("%s is missing in\n%s", want, told)
		}
	}
}

func TestPrint(t *testing.T) {
	r := &Report{Domain: "example.org", Host: "mx.example.org", DataDirectory: "/d",
		Account: "postmaster@example.org", Password: "made-here",
		Records: []Record{{"example.org.", "MX", "10 mx.example.org."}, {"a.", "A", "192.0.2.1"}},
		Service: &Service{Manager: "systemd", File: "/etc/unit", User: "postrider"},
		Todo:    []string{"One thing.", strings.Repeat("word ", 16) + "end."}}
	var b strings.Builder
	r.Print(&b)
	want := `This is the server of example.org now; it calls itself mx.example.org.
Its data is in /d.
It listens on all addresses.
The account postmaster@example.org is made, with this password, which is shown only now:

    made-here
The service is installed as /etc/unit and runs as postrider.

DNS records:

  example.org.  MX  10 mx.example.org.
  a.            A   192.0.2.1

Still to do:

1. One thing.
2. word word word word word word word word word word word word word word word
   word end.
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	b.Reset()
	r.Password = ""
	if r.Print(&b); strings.Contains(b.String(), "password") {
		t.Errorf("a password that was not made is told:\n%s", b.String())
	}
}

func TestServiceLines(t *testing.T) {
	for _, tt := range []struct {
		in   Service
		want []string
	}{
		{Service{}, nil},
		{Service{Note: "there is none"}, []string{"Note: there is none."}},
		{Service{Manager: "windows"}, []string{"The service is installed."}},
		{Service{Manager: "launchd", File: "/f", User: "u", Note: "n"},
			[]string{"The service is installed as /f and runs as u.", "Note: n."}},
	} {
		if d := cmp.Diff(tt.want, tt.in.Lines()); d != "" {
			t.Errorf("%+v (-want +got)\n%s", tt.in, d)
		}
	}
}

// The service may write where the settings have it write.
func TestServiceConfig(t *testing.T) {
	top := t.TempDir()
	dir, _, err := datadir.Make(filepath.Join(top, "d"))
	if err != nil {
		t.Fatal(err)
	}
	logs := filepath.Join(top, "logs")
	file := "[log]\ndirectory = '" + logs + "'\n"
	path := filepath.Join(dir.Path(), "postrider.toml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	user := datadir.Owner(dir.Path())
	if user == "" && runtime.GOOS != "windows" {
		user = serviceUser
	}
	for in, want := range map[string]string{"": user, "bob": "bob"} {
		got, err := ServiceConfig(dir, in, "/bin/postrider")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(service.Config{Program: "/bin/postrider", Data: dir.Path(), User: want,
			Writes: []string{logs}}, got); d != "" {
			t.Errorf("%q (-want +got)\n%s", in, d)
		}
	}
}
