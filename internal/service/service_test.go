package service

import (
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postrider/internal/mail"
)

var update = flag.Bool("update", false, "write the golden files anew")

var testConfig = Config{Program: "/usr/local/bin/postrider", Data: "/var/lib/postrider",
	User: "postrider"}

func TestGoldenFiles(t *testing.T) {
	for m, name := range map[Manager]string{
		Systemd: "postrider.service", Launchd: "org.postrider.server.plist",
	} {
		_, got := m.File(testConfig)
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-want +got)\n%s", name, d)
		}
	}
}

// A foreign reader agrees that the unit is one.
func TestUnitVerified(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	for name, data := range map[string]string{
		"plain": t.TempDir(), "strange": filepath.Join(t.TempDir(), `50% "of" $it`),
	} {
		path := filepath.Join(t.TempDir(), "postrider.service")
		_, text := Systemd.File(Config{Program: "/bin/true", Data: data, User: "root"})
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path)
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), path) || strings.Contains(string(out), "postrider.service") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestPlistIsXML(t *testing.T) {
	_, text := Launchd.File(Config{Program: "/a & b/<c>", Data: "/d", User: "_mail"})
	d := xml.NewDecoder(strings.NewReader(text))
	var all []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := token.(xml.CharData); ok && strings.TrimSpace(string(s)) != "" {
			all = append(all, string(s))
		}
	}
	for _, want := range []string{"/a & b/<c>", "/d", "_mail", "serve"} {
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("no %q in the plist", want)
		}
	}
}

// The DTD of property lists: one value; a dict is keys with their values; each
// value is of a known kind.
func TestPlistFollowsItsDTD(t *testing.T) {
	_, text := Launchd.File(Config{Program: "/a & b", Data: "/Library/Application Support/P",
		User: "postrider"})
	d := xml.NewDecoder(strings.NewReader(text))
	var value func(e xml.StartElement) error
	// next gives the next element of this parent; ok is false at its end.
	next := func() (e xml.StartElement, ok bool, err error) {
		for {
			token, err := d.Token()
			if err != nil {
				return e, false, err
			}
			switch token := token.(type) {
			case xml.StartElement:
				return token, true, nil
			case xml.EndElement:
				return e, false, nil
			}
		}
	}
	children := func(each func(n int, e xml.StartElement) error) (n int, err error) {
		for ; ; n++ {
			e, ok, err := next()
			if err != nil || !ok {
				return n, err
			}
			if err := each(n, e); err != nil {
				return n, err
			}
		}
	}
	value = func(e xml.StartElement) error {
		var s string
		switch e.Name.Local {
		case "dict":
			n, err := children(func(n int, e xml.StartElement) error {
				if n%2 == 1 {
					return value(e)
				}
				if e.Name.Local != "key" {
					return fmt.Errorf("<%s> where a key must be", e.Name.Local)
				}
				return d.DecodeElement(&s, &e)
			})
			if err == nil && n%2 == 1 {
				err = errors.New("a key without a value")
			}
			return err
		case "array":
			_, err := children(func(_ int, e xml.StartElement) error { return value(e) })
			return err
		case "string", "true", "false":
			return d.DecodeElement(&s, &e)
		case "integer":
			var n int
			return d.DecodeElement(&n, &e)
		}
		return fmt.Errorf("<%s> is no value", e.Name.Local)
	}
	root, _, err := next()
	if err != nil || root.Name.Local != "plist" {
		t.Fatalf("got <%s>, %v; want <plist>", root.Name.Local, err)
	}
	n, err := children(func(_ int, e xml.StartElement) error { return value(e) })
	if err != nil || n != 1 {
		t.Errorf("got %d values in the plist, %v; want 1", n, err)
	}
}

func TestDarwinUser(t *testing.T) {
	var ran []string
	i := Installer{Run: func(_ context.Context, name string, args ...string) (string, error) {
		line := name + " " + strings.Join(args, " ")
		ran = append(ran, line)
		switch line {
		case "dscl . -list /Users UniqueID":
			return "_amavisd 83\nann 501\n_other 399\n", nil
		case "dscl . -list /Groups PrimaryGroupID":
			return "_other 399\n_more 398\n", nil
		}
		return "", nil
	}}
	made, err := i.EnsureUser(context.Background(), "darwin", "postrider-test", "/data")
	if !made || err != nil {
		t.Fatalf("got %v, %v", made, err)
	}
	for _, want := range []string{"dscl . -create /Groups/postrider-test PrimaryGroupID 397",
		"dscl . -create /Users/postrider-test UniqueID 397",
		"dscl . -create /Users/postrider-test NFSHomeDirectory /data"} {
		if !slices.Contains(ran, want) {
			t.Errorf("not run: %s", want)
		}
	}
}

// recorder is an installer that only writes down what it would run.
func recorder(t *testing.T, ran *[]string, fail string) Installer {
	return Installer{Root: t.TempDir(), Run: func(_ context.Context, name string,
		args ...string) (string, error) {
		line := name + " " + strings.Join(args, " ")
		*ran = append(*ran, line)
		if fail != "" && strings.HasPrefix(line, fail) {
			return "", errors.New("no")
		}
		return "", nil
	}}
}

func TestInstallAndUninstall(t *testing.T) {
	tests := []struct {
		manager            Manager
		fail               string
		start              string
		install, uninstall []string
	}{
		{Systemd, "", "systemctl start postrider",
			[]string{"systemctl daemon-reload", "systemctl enable postrider.service"},
			[]string{"systemctl disable --now postrider.service", "systemctl daemon-reload"}},
		{Launchd, "", "launchctl bootstrap system " + plistFile,
			nil, []string{"launchctl bootout system/org.postrider.server"}},
	}
	for _, tt := range tests {
		t.Run(string(tt.manager), func(t *testing.T) {
			ctx := context.Background()
			var ran []string
			i := recorder(t, &ran, tt.fail)
			if err := i.Uninstall(ctx, tt.manager); mail.KindOf(err) != mail.NotFound {
				t.Errorf("uninstall before: got %v, want kind NotFound", err)
			}
			start, err := i.Install(ctx, tt.manager, testConfig)
			if err != nil || start != tt.start {
				t.Errorf("got %q, %v; want %q", start, err, tt.start)
			}
			if d := cmp.Diff(tt.install, ran); d != "" {
				t.Errorf("install ran (-want +got)\n%s", d)
			}
			if there, err := i.Installed(ctx, tt.manager); !there || err != nil {
				t.Errorf("Installed: got %v, %v", there, err)
			}
			ran = nil
			if err := i.Uninstall(ctx, tt.manager); err != nil {
				t.Error(err)
			}
			if d := cmp.Diff(tt.uninstall, ran); d != "" {
				t.Errorf("uninstall ran (-want +got)\n%s", d)
			}
			if there, _ := i.Installed(ctx, tt.manager); there {
				t.Error("it is still there")
			}
		})
	}
}

func TestInstallWindows(t *testing.T) {
	var ran []string
	i := recorder(t, &ran, "sc.exe query") // it is not there yet
	c := testConfig
	c.Writes = []string{"/volume"}
	if _, err := i.Install(context.Background(), Windows, c); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"sc.exe query postrider",
		"icacls.exe /var/lib/postrider /inheritance:r /grant:r *S-1-5-19:(OI)(CI)F " +
			"*S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F",
		"icacls.exe /volume /inheritance:r /grant:r *S-1-5-19:(OI)(CI)F " +
			"*S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F",
		`sc.exe create postrider binPath= "/usr/local/bin/postrider" serve --data ` +
			`"/var/lib/postrider" start= auto obj= NT AUTHORITY\LocalService ` +
			`DisplayName= Postrider mail server`,
		"sc.exe failure postrider reset= 86400 actions= restart/5000/restart/5000/restart/60000",
		"sc.exe failureflag postrider 1",
	}
	if d := cmp.Diff(want, ran); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestInstallRefuses(t *testing.T) {
	var ran []string
	i := recorder(t, &ran, "")
	for name, c := range map[string]Config{
		"relative": {Program: "postrider", Data: "/d"},
		"newline":  {Program: "/p", Data: "/d\nUser=root"},
		"user":     {Program: "/p", Data: "/d", User: "a\nb"},
	} {
		if _, err := i.Install(context.Background(), Systemd, c); mail.KindOf(err) != mail.Invalid {
			t.Errorf("%s: got %v, want kind Invalid", name, err)
		}
	}
	if _, err := i.Install(context.Background(), None, testConfig); !errors.Is(err, ErrNone) {
		t.Errorf("no manager: got %v, want ErrNone", err)
	}
	if len(ran) > 0 {
		t.Errorf("ran %q", ran)
	}
}
