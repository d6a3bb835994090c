// Package service makes Postrider a service of the machine: a unit of
// systemd, a daemon of launchd, or a service of Windows. It writes what the
// service manager reads and tells it to look; it does not start anything
// unless asked.
package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"postrider/internal/durable"
	"postrider/internal/mail"
)

// Name is what the service is called, where names are short.
const Name = "postrider"

// A Manager is the service manager of a system.
type Manager string

// The managers. None is the answer on a system without one that we know.
const (
	Systemd Manager = "systemd"
	Launchd Manager = "launchd"
	Windows Manager = "windows"
	None    Manager = ""
)

// Config says what the service runs.
type Config struct {
	Program string // absolute path of this program
	Data    string // absolute path of the data directory
	User    string // whom it runs as; unused on Windows
	// Writes are directories outside the data directory that it writes too:
	// volumes on other disks, logs. Absolute paths; unused on macOS.
	Writes []string
}

// An Installer puts the service in place. The zero value works on this
// machine; tests give it a root of their own.
type Installer struct {
	// Root stands before the paths that are written.
	Root string
	// Run runs a program and gives what it printed.
	Run func(ctx context.Context, name string, args ...string) (string, error)
}

// Detect finds the manager of this machine.
func Detect(goos string) Manager {
	switch goos {
	case "darwin":
		return Launchd
	case "windows":
		return Windows
	case "linux":
		// sd_booted(3): this directory exists where systemd runs the machine.
		if info, err := os.Stat("/run/systemd/system"); err == nil && info.IsDir() {
			return Systemd
		}
	}
	return None
}

// The files that service managers read.
const (
	unitFile  = "/etc/systemd/system/postrider.service"
	wantsDir  = "/etc/systemd/system/multi-user.target.wants"
	plistName = "org.postrider.server"
	plistFile = "/Library/LaunchDaemons/" + plistName + ".plist"
)

// File is what the manager reads, and its content. Windows has none.
func (m Manager) File(c Config) (path, content string) {
	switch m {
	case Systemd:
		return unitFile, unit(c)
	case Launchd:
		return plistFile, plist(c)
	default:
		return "", ""
	}
}

// ErrNone says that there is no manager that we know.
var ErrNone = mail.Errorf(mail.NotFound, "no service manager was found here; have your system "+
	"start \"postrider serve\" at boot")

// Installed says whether the service is there.
func (i Installer) Installed(ctx context.Context, m Manager) (bool, error) {
	if m == Windows {
		_, err := i.run(ctx, "sc.exe", "query", Name)
		return err == nil, nil
	}
	path, _ := m.File(Config{})
	if path == "" {
		return false, ErrNone
	}
	_, err := os.Stat(i.Root + path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Install puts the service in place, in place of an earlier one, and has it
// start at boot. It gives the command that starts it now.
func (i Installer) Install(ctx context.Context, m Manager, c Config) (start string, err error) {
	if err := c.check(); err != nil {
		return "", err
	}
	switch m {
	case Systemd:
		if err := i.write(m, c); err != nil {
			return "", err
		}
		if _, err := i.run(ctx, "systemctl", "daemon-reload"); err != nil {
			return "", err
		}
		if _, err := i.run(ctx, "systemctl", "enable", unitName); err != nil {
			return "", err
		}
		// A machine that loses power now has the service at its next boot.
		err := durable.SyncDir(i.Root + wantsDir)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // enabled in another way
		}
		return "systemctl start " + Name, err
	case Launchd:
		if err := i.write(m, c); err != nil {
			return "", err
		}
		return "launchctl bootstrap system " + plistFile, nil
	case Windows:
		return "sc.exe start " + Name, i.installWindows(ctx, c)
	default:
		return "", ErrNone
	}
}

const unitName = Name + ".service"

// Who may use the directories on Windows, and how: everything, also what
// is made in it later.
const (
	sidLocalService   = "S-1-5-19"
	sidSystem         = "S-1-5-18"
	sidAdministrators = "S-1-5-32-544"
	full              = ":(OI)(CI)F"
)

// installWindows makes the service anew, because sc.exe knows no replacing,
// and makes its directories private to it and the administrators.
func (i Installer) installWindows(ctx context.Context, c Config) error {
	if there, _ := i.Installed(ctx, Windows); there {
		if err := i.Uninstall(ctx, Windows); err != nil {
			return err
		}
	}
	for _, dir := range append([]string{c.Data}, c.Writes...) {
		if _, err := i.run(ctx, "icacls.exe", dir, "/inheritance:r", "/grant:r",
			"*"+sidLocalService+full, "*"+sidSystem+full, "*"+sidAdministrators+full); err != nil {
			return err
		}
	}
	line := windowsQuote(c.Program) + " serve --data " + windowsQuote(c.Data)
	if _, err := i.run(ctx, "sc.exe", "create", Name, "binPath=", line, "start=", "auto",
		"obj=", `NT AUTHORITY\LocalService`, "DisplayName=", "Postrider mail server"); err != nil {
		return err
	}
	if _, err := i.run(ctx, "sc.exe", "failure", Name, "reset=", "86400", "actions=",
		"restart/5000/restart/5000/restart/60000"); err != nil {
		return err
	}
	// Also when the server has told that it ends, because of an error. Wine's
	// sc.exe does not know this; the service works without it.
	_, _ = i.run(ctx, "sc.exe", "failureflag", Name, "1")
	return nil
}

// Uninstall stops the service and takes it away. Data is never touched. The
// error is of kind NotFound if there is none.
func (i Installer) Uninstall(ctx context.Context, m Manager) error {
	there, err := i.Installed(ctx, m)
	if err != nil {
		return err
	}
	if !there {
		return mail.Errorf(mail.NotFound, "the service is not installed")
	}
	switch m {
	case Systemd:
		if _, err := i.run(ctx, "systemctl", "disable", "--now", unitName); err != nil {
			return err
		}
		if err := os.Remove(i.Root + unitFile); err != nil {
			return err
		}
		_, err = i.run(ctx, "systemctl", "daemon-reload")
		return err
	case Launchd:
		// It fails if the daemon was never started, which is no harm.
		_, _ = i.run(ctx, "launchctl", "bootout", "system/"+plistName)
		return os.Remove(i.Root + plistFile)
	default:
		// Likewise for a service that is stopped already.
		_, _ = i.run(ctx, "sc.exe", "stop", Name)
		_, err := i.run(ctx, "sc.exe", "delete", Name)
		return err
	}
}

func (i Installer) write(m Manager, c Config) error {
	path, content := m.File(c)
	path = i.Root + path
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// It is on the disk before it has its name: after a power cut systemd would
	// take an empty unit for one that is forbidden.
	return denied(durable.WriteFile(path, 0o644, durable.Bytes([]byte(content))))
}

// denied explains the usual reason.
func denied(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &mail.Error{Kind: mail.Denied, Err: err,
			Text: "only the administrator of the machine can install a service"}
	}
	return err
}

func (i Installer) run(ctx context.Context, name string, args ...string) (string, error) {
	if i.Run != nil {
		return i.Run(ctx, name, args...)
	}
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err,
			strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// check refuses what cannot stand in a unit.
func (c Config) check() error {
	for _, path := range append([]string{c.Program, c.Data}, c.Writes...) {
		if !filepath.IsAbs(path) {
			return mail.Errorf(mail.Invalid, "the path is not absolute: "+path)
		}
		if strings.ContainsAny(path, "\n\r\x00") {
			return mail.Errorf(mail.Invalid, fmt.Sprintf("the path %q has a line end", path))
		}
	}
	if strings.ContainsAny(c.User, " \t\n\r") {
		return mail.Errorf(mail.Invalid, "the user name has a blank")
	}
	return nil
}
