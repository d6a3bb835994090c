package service

import (
	"context"
	"errors"
	"os/user"

	"postrider/internal/mail"
)

// EnsureUser makes a system user for the server unless there is one. It
// works where useradd (Linux) or pw (FreeBSD) does; the error is of kind
// NotFound elsewhere.
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
	case "freebsd":
		_, err = i.run(ctx, "pw", "useradd", name, "-d", home, "-s", "/usr/sbin/nologin",
			"-c", "Postrider")
	default:
		return false, mail.Errorf(mail.NotFound, "there is no user "+name+
			"; make one for the server, or name another with --user")
	}
	return err == nil, err
}
