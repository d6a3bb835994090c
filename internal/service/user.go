package service

import (
	"context"
	"errors"
	"os/user"
	"strconv"
	"strings"

	"postrider/internal/mail"
)

// EnsureUser makes a system user for the server unless there is one. It
// works where useradd (Linux), dscl (macOS) or pw (FreeBSD) does; the error is
// of kind NotFound elsewhere.
func (i Installer) EnsureUser(ctx context.Context, goos, name, home string) (made bool, err error) {
	_, err = user.Lookup(name)
	if err == nil {
		return false, nil
	}
	if _, unknown := errors.AsType[user.UnknownUserError](err); !unknown {
		return false, err
	}
	switch goos {
	case "linux":
		_, err = i.run(ctx, "useradd", "--system", "--user-group", "--home-dir", home,
			"--no-create-home", "--shell", "/usr/sbin/nologin", "--comment", "Postrider", name)
	case "darwin":
		err = i.addDarwinUser(ctx, name, home)
	case "freebsd":
		_, err = i.run(ctx, "pw", "useradd", name, "-d", home, "-s", "/usr/sbin/nologin",
			"-c", "Postrider")
	default:
		return false, mail.Errorf(mail.NotFound, "there is no user "+name+
			"; make one for the server, or name another with --user")
	}
	return err == nil, err
}

// macOS keeps the ids from 200 to 400 for services and gives its own from
// below.
const (
	maxDarwinID = 399
	minDarwinID = 300
)

// addDarwinUser makes a user and a group of the same name and id, which log in
// nowhere and are not shown, in the directory of this Mac.
func (i Installer) addDarwinUser(ctx context.Context, name, home string) error {
	taken := map[string]bool{}
	for _, list := range [][]string{{"/Users", "UniqueID"}, {"/Groups", "PrimaryGroupID"}} {
		out, err := i.run(ctx, "dscl", ".", "-list", list[0], list[1])
		if err != nil {
			return err
		}
		for _, word := range strings.Fields(out) {
			taken[word] = true
		}
	}
	id := ""
	for n := maxDarwinID; n >= minDarwinID && id == ""; n-- {
		if s := strconv.Itoa(n); !taken[s] {
			id = s
		}
	}
	if id == "" {
		return mail.Errorf(mail.Conflict, "no id is free for the user "+name+
			"; make one, and name it with --user")
	}
	for _, record := range [][]string{
		{"/Groups/" + name}, // without a key: the record itself
		{"/Groups/" + name, "PrimaryGroupID", id},
		{"/Users/" + name},
		{"/Users/" + name, "UniqueID", id},
		{"/Users/" + name, "PrimaryGroupID", id},
		{"/Users/" + name, "UserShell", "/usr/bin/false"},
		{"/Users/" + name, "NFSHomeDirectory", home},
		{"/Users/" + name, "RealName", "Postrider"},
		{"/Users/" + name, "Password", "*"},
		{"/Users/" + name, "IsHidden", "1"},
	} {
		if _, err := i.run(ctx, "dscl", append([]string{".", "-create"}, record...)...); err != nil {
			return err
		}
	}
	return nil
}
