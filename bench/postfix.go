package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Where Postfix has its programs: the command, and the daemon above the others.
const (
	postfixProgram = "/usr/sbin/postfix"
	postfixDaemons = "/usr/lib/postfix/sbin"
)

// mailUser owns the Maildirs of the other servers.
const mailUser = "nobody"

// newPostfix starts a Postfix of its own that delivers into Maildirs, in a
// directory of its own; the one that may run on this machine is not touched.
// It needs root.
func newPostfix(ctx context.Context, dir string) (*process, error) {
	if _, err := os.Stat(postfixProgram); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("only root can start it")
	}
	addrs, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	mail := filepath.Join(dir, "mail")
	if err := makeMaildirs(mail); err != nil {
		return nil, err
	}
	etc, err := configurePostfix(ctx, dir, mail, addrs[0])
	if err != nil {
		return nil, err
	}
	p := &process{name: "postfix", smtp: addrs[0],
		count: func(context.Context) (int, error) { return countMaildirs(mail) }}
	// The command makes the queue; the daemon is started without it, so that
	// it is our child and ends when we say so.
	if out, err := exec.CommandContext(ctx, postfixProgram, "-c", etc, "check").
		CombinedOutput(); err != nil {
		return nil, fmt.Errorf("postfix check: %w: %s", err, out)
	}
	if err := p.start(filepath.Join(postfixDaemons, "master"), "-c", etc, "-s"); err != nil {
		return nil, err
	}
	if err := p.greets(ctx, p.smtp, 30*time.Second); err != nil {
		p.stop()
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, fmt.Errorf("%w: %.1000s", err, log)
	}
	return p, nil
}

// configurePostfix writes the configuration and returns its directory.
func configurePostfix(ctx context.Context, dir, mail, addr string) (string, error) {
	for _, sub := range []string{"etc", "spool", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return "", err
		}
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		return "", err
	}
	if err := give(filepath.Join(dir, "state"), owner); err != nil {
		return "", err
	}
	reader, err := user.Lookup(mailUser)
	if err != nil {
		return "", err
	}
	etc := filepath.Join(dir, "etc")
	var table strings.Builder
	for u := range userCount {
		fmt.Fprintf(&table, "%s user%d/\n", userName(u), u)
	}
	for name, text := range map[string]string{
		"boxes":     table.String(),
		"main.cf":   postfixMain(dir, mail, reader),
		"master.cf": postfixServices(addr),
	} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	boxes := "hash:" + filepath.Join(etc, "boxes")
	if out, err := exec.CommandContext(ctx, "/usr/sbin/postmap", "-c", etc, boxes).
		CombinedOutput(); err != nil {
		return "", fmt.Errorf("postmap: %w: %s", err, out)
	}
	return etc, nil
}

// postfixMain is main.cf: its defaults, but for where things are.
func postfixMain(dir, mail string, reader *user.User) string {
	return fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/state
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
daemon_directory = %[6]s
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.%[2]s
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
message_size_limit = 104857600
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_domains = %[2]s
virtual_mailbox_maps = hash:%[1]s/etc/boxes
virtual_mailbox_base = %[3]s
virtual_uid_maps = static:%[4]s
virtual_gid_maps = static:%[5]s
virtual_transport = virtual
`, dir, domain, mail, reader.Uid, reader.Gid, postfixDaemons)
}

// postfixServices is master.cf: smtpd on our port, and what it needs, with
// the limits that Postfix has by default.
func postfixServices(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	var b strings.Builder
	fmt.Fprintf(&b, "127.0.0.1:%s inet n - n - - smtpd\n", port)
	for _, s := range []struct{ name, rest string }{
		{"pickup", "n - n 60 1 pickup"}, {"cleanup", "n - n - 0 cleanup"},
		{"qmgr", "n - n 300 1 qmgr"}, {"tlsmgr", "- - n 1000? 1 tlsmgr"},
		{"rewrite", "- - n - - trivial-rewrite"}, {"bounce", "- - n - 0 bounce"},
		{"defer", "- - n - 0 bounce"}, {"trace", "- - n - 0 bounce"},
		{"verify", "- - n - 1 verify"}, {"flush", "n - n 1000? 0 flush"},
		{"proxymap", "- - n - - proxymap"}, {"error", "- - n - - error"},
		{"retry", "- - n - - error"}, {"discard", "- - n - - discard"},
		{"virtual", "- n n - - virtual"}, {"anvil", "- - n - 1 anvil"},
		{"scache", "- - n - 1 scache"},
	} {
		fmt.Fprintf(&b, "%s unix %s\n", s.name, s.rest)
	}
	b.WriteString("postlog unix-dgram n - n - 1 postlogd\n")
	return b.String()
}

// give makes a user the owner of a file.
func give(name string, u *user.User) error {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	return os.Chown(name, uid, gid)
}

// makeMaildirs makes an empty Maildir for every account.
func makeMaildirs(mail string) error {
	owner, err := user.Lookup(mailUser)
	if err != nil {
		return err
	}
	dirs := []string{mail}
	for u := range userCount {
		box := maildir(mail, u)
		dirs = append(dirs, box, filepath.Join(box, "new"), filepath.Join(box, "cur"),
			filepath.Join(box, "tmp"))
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := give(d, owner); err != nil {
			return err
		}
	}
	return nil
}

func maildir(mail string, u int) string { return filepath.Join(mail, "user"+strconv.Itoa(u)) }

// countMaildirs counts what has been delivered to all accounts.
func countMaildirs(mail string) (int, error) {
	total := 0
	for u := range userCount {
		for _, sub := range []string{"new", "cur"} {
			d, err := os.Open(filepath.Join(maildir(mail, u), sub))
			if err != nil {
				return 0, err
			}
			names, err := d.Readdirnames(-1)
			d.Close()
			if err != nil {
				return 0, err
			}
			total += len(names)
		}
	}
	return total, nil
}
