package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

// perMaildrop is how many messages lie in each maildrop that is downloaded.
const perMaildrop = 20

// measurePOP is one round of downloads: our server, and Dovecot over Maildirs
// with the same messages.
func (b *bench) measurePOP(ctx context.Context, round int) error {
	ours, err := newPostrider(ctx, b.program, filepath.Join(b.dir, fmt.Sprint("pop", round)))
	if err != nil {
		return err
	}
	defer b.discard(ours)
	letters := newLetterbox(small)
	if err := fill(ctx, &ours.process, letters); err != nil {
		return err
	}
	servers := []*process{&ours.process}
	if b.peers {
		dovecot, err := newDovecot(ctx, filepath.Join(b.dir, fmt.Sprint("dovecot", round)), letters)
		if err != nil {
			b.note("Dovecot is left out: %v", err)
		} else {
			defer dovecot.stop()
			servers = append(servers, dovecot)
		}
	}
	for _, p := range servers {
		// Each maildrop once, so that no server builds an index while measured.
		if n, err := countPOP(ctx, p.pop); err != nil || n != userCount*perMaildrop {
			return fmt.Errorf("%s has %d messages, want %d: %w", p.name, n, userCount*perMaildrop, err)
		}
		(&fetch{addr: p.pop, conns: 4, duration: time.Second}).run(ctx)
	}
	for _, conns := range b.conns {
		for _, p := range servers {
			b.progress("round %d: POP3, %d connections: %s", round, conns, p.name)
			m := startMeter(p.pid())
			o := (&fetch{addr: p.pop, conns: conns, duration: b.cell}).run(ctx)
			s := newSample("pop", p, small, conns, round, o)
			s.charge(m.read())
			b.report.add(s)
		}
	}
	return ctx.Err()
}

// fill delivers perMaildrop messages to each account.
func fill(ctx context.Context, p *process, letters *letterbox) error {
	l := &load{addr: p.smtp, letters: letters, conns: 16, duration: time.Minute,
		messages: userCount * perMaildrop}
	if o := l.run(ctx); o.done != l.messages {
		return fmt.Errorf("fill: %d messages of %d: %w", o.done, l.messages, o.firstErr)
	}
	return nil
}

const dovecotProgram = "/usr/sbin/dovecot"

// newDovecot starts a Dovecot of its own over Maildirs that hold perMaildrop
// messages each, in a directory of its own. It needs root.
func newDovecot(ctx context.Context, dir string, letters *letterbox) (*process, error) {
	if _, err := os.Stat(dovecotProgram); err != nil {
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
	if err := fillMaildirs(mail, letters); err != nil {
		return nil, err
	}
	owner, err := user.Lookup(mailUser)
	if err != nil {
		return nil, err
	}
	var users strings.Builder
	for u := range userCount {
		fmt.Fprintf(&users, "%s:{PLAIN}%s\n", userName(u), password)
	}
	config := filepath.Join(dir, "dovecot.conf")
	for name, text := range map[string]string{
		filepath.Join(dir, "users"): users.String(),
		config:                      dovecotConfig(dir, mail, addrs[0], owner),
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	p := &process{name: "dovecot", pop: addrs[0]}
	if err := p.start(dovecotProgram, "-F", "-c", config); err != nil {
		return nil, err
	}
	if err := p.greets(ctx, p.pop, 30*time.Second); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// dovecotConfig has its defaults, but for where things are and for limits
// that 64 logins at a time from one address would meet.
func dovecotConfig(dir, mail, addr string, owner *user.User) string {
	host, port, _ := strings.Cut(addr, ":")
	return fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/run
instance_name = bench
protocols = pop3
listen = %[3]s
log_path = %[1]s/log
ssl = no
disable_plaintext_auth = no
first_valid_uid = 100
mail_location = maildir:%[2]s/%%n
mail_max_userip_connections = 1000
auth_username_format = %%Lu
passdb {
  driver = passwd-file
  args = %[1]s/users
}
userdb {
  driver = static
  args = uid=%[5]s gid=%[6]s home=%[2]s/%%n
}
service pop3-login {
  process_limit = 1000
  inet_listener pop3 {
    port = %[4]s
  }
  inet_listener pop3s {
    port = 0
  }
}
`, dir, mail, host, port, owner.Uid, owner.Gid)
}

// fillMaildirs writes messages as a delivery agent does, with plain line ends.
func fillMaildirs(mail string, letters *letterbox) error {
	owner, err := user.Lookup(mailUser)
	if err != nil {
		return err
	}
	for i := range userCount * perMaildrop {
		u := i % userCount
		text := append(letters.head(nil, i, userName(u)), letters.body(i)...)
		text = bytes.TrimSuffix(text, []byte(".\r\n"))
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
		name := filepath.Join(maildir(mail, u), "new", fmt.Sprintf("%d.M%dP1.bench", 1700000000+i, i))
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return err
		}
		if err := give(name, owner); err != nil {
			return err
		}
	}
	return nil
}
