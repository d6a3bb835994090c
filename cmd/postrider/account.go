package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"postrider/internal/control"
	"postrider/internal/mail"
	"postrider/internal/terminal"
)

// change gathers what the flags say of an account.
func (c *call) change() (control.AccountChange, error) {
	var ch control.AccountChange
	o := &c.opt
	if c.line.Given["full-name"] {
		ch.FullName = &o.fullName
	}
	if c.line.Given["quota"] {
		n, ok := terminal.ParseSize(o.quota)
		if (!ok || n == 0) && !strings.EqualFold(o.quota, "none") {
			return ch, c.usage("--quota %s: want a size such as 500M, or none", o.quota)
		}
		ch.QuotaBytes = &n
	}
	if c.line.Given["apop"] {
		ch.APOP = &o.apop
	}
	if c.line.Given["login"] {
		switch strings.ToLower(o.login) {
		case "yes", "true", "on", "no", "false", "off":
		default:
			return ch, c.usage("--login %s: want yes or no", o.login)
		}
		login := strings.Contains("yes true on", strings.ToLower(o.login))
		ch.Login = &login
	}
	if c.line.Given["volume"] {
		ch.Volume = &o.volume
	}
	if c.line.Given["notify"] {
		ch.Notify = &o.notify
	}
	return ch, nil
}

func (c *call) accountAdd(ctx context.Context) error {
	change, err := c.change()
	if err != nil {
		return err
	}
	password, err := c.password(ctx)
	if err != nil {
		return err
	}
	q := control.AccountAddRequest{Address: c.line.Arg(0), Password: password, AccountChange: change}
	return do(ctx, c, control.AccountAdd, q, func(w io.Writer, r *control.AccountPasswordReply) {
		fmt.Fprintf(w, "The account %s is made.\n", r.Address)
		printPassword(w, r)
	})
}

func printPassword(w io.Writer, r *control.AccountPasswordReply) {
	if r.Password != "" {
		fmt.Fprintf(w, "Its password, which is shown only now: %s\n", r.Password)
	}
	if r.Note != "" {
		fmt.Fprintf(w, "Note: %s.\n", r.Note)
	}
}

// accounts calls f with the list of accounts, a part at a time.
func accounts(ctx context.Context, via control.Caller, domain string,
	f func([]control.AccountInfo)) error {
	q := control.AccountListRequest{Domain: domain}
	for {
		r, err := control.AccountList.Call(ctx, via, q, nil)
		if err != nil {
			return err
		}
		f(r.Accounts)
		if !r.More {
			return nil
		}
		q.After = r.Accounts[len(r.Accounts)-1].Address
	}
}

func (c *call) accountList(ctx context.Context) error {
	return c.with(ctx, func(s control.Caller) error {
		list := []control.AccountInfo{}
		err := accounts(ctx, s, c.opt.domain, func(part []control.AccountInfo) {
			list = append(list, part...)
		})
		if err != nil {
			return err
		}
		return c.Answer(list, func(w io.Writer) {
			rows := [][]string{{"ADDRESS", "NAME", "STATE", "QUOTA"}}
			for i := range list {
				a := &list[i]
				rows = append(rows, []string{a.Address, a.FullName, state(a), quota(a.QuotaBytes)})
			}
			terminal.Table(w, rows)
		})
	})
}

func state(a *control.AccountInfo) string {
	switch {
	case !a.Enabled:
		return "disabled"
	case !a.Login:
		return "no login"
	default:
		return "enabled"
	}
}

// quota writes a limit as people read it.
func quota(n int64) string {
	if n == 0 {
		return "none"
	}
	return terminal.Size(n)
}

func (c *call) accountShow(ctx context.Context) error {
	q := control.AddressRequest{Address: c.line.Arg(0)}
	return do(ctx, c, control.AccountShow, q, func(w io.Writer, r *control.AccountShowReply) {
		terminal.Table(w, showRows(r))
	})
}

func showRows(r *control.AccountShowReply) [][]string {
	apop := r.APOP
	if r.APOP != "off" && !r.APOPReady {
		apop += " (from the next password on)"
	}
	rows := [][]string{
		{"Address", r.Address},
		{"Full name", r.FullName},
		{"State", state(&r.AccountInfo)},
		{"Mail", terminal.Plural(r.Messages, "message", "messages") + ", " +
			terminal.Size(r.UsedBytes)},
		{"Quota", quota(r.QuotaBytes)},
		{"Password", map[bool]string{true: "set", false: "none: nobody can log in"}[r.Password]},
		{"APOP", apop},
		{"Notify", r.Notify},
		{"Volume", fmt.Sprint(r.Volume)},
		{"Created", terminal.Moment(r.Created)},
		{"Changed", terminal.Moment(r.Changed)},
	}
	for _, app := range r.AppPasswords {
		rows = append(rows, []string{"App password",
			app.Name + ", made " + terminal.Moment(app.Created)})
	}
	return rows
}

func (c *call) accountSet(ctx context.Context) error {
	change, err := c.change()
	if err != nil {
		return err
	}
	if change == (control.AccountChange{}) {
		return c.usage("account set: nothing to change was named")
	}
	return c.set(ctx, change, "is changed")
}

func (c *call) accountEnable(ctx context.Context, enable bool) error {
	what := "is disabled: it neither receives mail nor logs in"
	if enable {
		what = "is enabled"
	}
	return c.set(ctx, control.AccountChange{Enabled: &enable}, what)
}

func (c *call) set(ctx context.Context, change control.AccountChange, what string) error {
	q := control.AccountSetRequest{Address: c.line.Arg(0), AccountChange: change}
	return do(ctx, c, control.AccountSet, q, func(w io.Writer, r *control.AccountSetReply) {
		fmt.Fprintf(w, "The account %s %s.\n", r.Address, what)
		if r.Note != "" {
			fmt.Fprintf(w, "Note: %s.\n", r.Note)
		}
	})
}

func (c *call) accountPassword(ctx context.Context) error {
	password, err := c.password(ctx)
	if err != nil {
		return err
	}
	q := control.AccountPasswordRequest{Address: c.line.Arg(0), Password: password}
	return do(ctx, c, control.AccountPassword, q,
		func(w io.Writer, r *control.AccountPasswordReply) {
			fmt.Fprintf(w, "The password of %s is set.\n", r.Address)
			printPassword(w, r)
		})
}

func (c *call) accountRemove(ctx context.Context) error {
	if err := c.sure("Remove " + c.line.Arg(0) + " with all its mail?"); err != nil {
		return err
	}
	q := control.AddressRequest{Address: c.line.Arg(0)}
	return do(ctx, c, control.AccountRemove, q, func(w io.Writer, r *control.AccountRemoveReply) {
		fmt.Fprintf(w, "The account %s is removed, with %s.\n", r.Address,
			terminal.Plural(r.Messages, "message", "messages"))
	})
}

func (c *call) appAdd(ctx context.Context) error {
	q := control.AppPasswordRequest{Address: c.line.Arg(0), Name: c.line.Arg(1)}
	return do(ctx, c, control.AppPasswordAdd, q, func(w io.Writer, r *control.AppPasswordReply) {
		fmt.Fprintf(w, "The app password %q of %s, which is shown only now: %s\n", r.Name,
			r.Address, r.Password)
	})
}

func (c *call) appList(ctx context.Context) error {
	return c.with(ctx, func(s control.Caller) error {
		q := control.AddressRequest{Address: c.line.Arg(0)}
		r, err := control.AppPasswordList.Call(ctx, s, q, nil)
		if err != nil {
			return err
		}
		return c.Answer(r.AppPasswords, func(w io.Writer) {
			rows := [][]string{{"NAME", "MADE"}}
			for _, app := range r.AppPasswords {
				rows = append(rows, []string{app.Name, terminal.Moment(app.Created)})
			}
			terminal.Table(w, rows)
		})
	})
}

func (c *call) appRemove(ctx context.Context) error {
	return c.with(ctx, func(s control.Caller) error {
		q := control.AppPasswordRequest{Address: c.line.Arg(0), Name: c.line.Arg(1)}
		if _, err := control.AppPasswordRemove.Call(ctx, s, q, nil); err != nil {
			return err
		}
		return c.Say(q, "The app password %q is removed.", q.Name)
	})
}

func (c *call) accountImport(ctx context.Context) error {
	if f := c.opt.format; c.line.Given["format"] && f != "sims" && f != "eims" {
		return c.usage("account import: --format %q: want sims or eims", f)
	}
	if c.line.Given["domain"] {
		if _, err := control.ParseDomain(c.opt.domain); err != nil {
			return c.refused(err)
		}
	}
	content, err := c.input(c.line.Arg(0))
	if err != nil {
		return err
	}
	table, err := control.DecodeTable(content, c.opt.charset)
	if err != nil {
		return err
	}
	c.content = true
	q := control.AccountImportRequest{Name: c.fileName(0), Content: table, Format: c.opt.format,
		Domain: c.opt.domain, DryRun: c.opt.dryRun}
	return c.with(ctx, func(s control.Caller) error {
		p, end := c.Progress()
		r, err := control.AccountImport.Call(ctx, s, q, p)
		end()
		if err != nil {
			return err
		}
		if err := c.Answer(r, func(w io.Writer) { printImport(w, &r) }); err != nil {
			return err
		}
		if r.Failed > 0 {
			return mail.Errorf(mail.Invalid, terminal.Plural(int64(r.Failed), "line is wrong",
				"lines are wrong")+"; nothing was imported")
		}
		return nil
	})
}

func printImport(w io.Writer, r *control.AccountImportReply) {
	for _, note := range r.Notes {
		fmt.Fprintf(w, "Note: %s.\n", note)
	}
	for i := range r.Lines {
		l := &r.Lines[i]
		if l.Error == "" && !r.DryRun && (len(l.Notes) == 0 || r.Failed > 0) {
			continue // only what needs a look
		}
		text := l.Action
		if l.Error != "" {
			text += ": " + l.Error
		}
		if len(l.Notes) > 0 {
			text += " (" + strings.Join(l.Notes, "; ") + ")"
		}
		fmt.Fprintf(w, "line %d: %s: %s\n", l.Line, l.Address, text)
	}
	if r.Failed > 0 && !r.DryRun {
		right := len(r.Lines) - r.Failed
		fmt.Fprintf(w, "No account was changed. Right lines: %d, wrong lines: %d.\n", right, r.Failed)
		return
	}
	verb := "Accounts"
	if r.DryRun {
		verb = "Accounts that would be"
	}
	fmt.Fprintf(w, "%s added: %d, changed: %d, unchanged: %d, removed: %d; wrong lines: %d.\n",
		verb, r.Added, r.Changed, r.Unchanged, r.Removed, r.Failed)
}

func (c *call) accountExport(ctx context.Context) error {
	return c.with(ctx, func(s control.Caller) error {
		p, end := c.Progress()
		q := control.AccountExportRequest{Domain: c.opt.domain}
		r, err := control.AccountExport.Call(ctx, s, q, p)
		end()
		if err != nil {
			return err
		}
		return c.Answer(r, func(w io.Writer) { io.WriteString(w, r.Content) })
	})
}
