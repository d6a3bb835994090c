package control

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"postrider/internal/auth"
	"postrider/internal/mail"
	"postrider/internal/settings"
	"postrider/internal/store"
)

// AccountImportRequest holds a table of accounts.
type AccountImportRequest struct {
	Name    string `json:"name,omitempty"`   // of the file, for the log
	Content string `json:"content"`          // UTF-8; DecodeTable makes it
	Format  string `json:"format,omitempty"` // "sims" (also if empty) or "eims"
	Domain  string `json:"domain,omitempty"` // of bare names; the main domain if empty
	DryRun  bool   `json:"dry_run,omitempty"`
}

// AccountImportReply reports on an import, line by line. If Failed is not 0
// nothing was changed, and the other numbers are 0, but in a dry run: that
// tells what the right lines would do.
type AccountImportReply struct {
	Lines   []ImportLine `json:"lines"`
	Notes   []string     `json:"notes"` // about the table as a whole
	Added   int          `json:"added"`
	Changed int          `json:"changed"`
	// Unchanged counts accounts that are as the table wants them already.
	Unchanged int  `json:"unchanged"`
	Removed   int  `json:"removed"`
	Failed    int  `json:"failed"`
	DryRun    bool `json:"dry_run"`
}

// outcome is for the log: whether it was done, and what that was.
func (r AccountImportReply) outcome() (done bool, facts []any) {
	return r.Failed == 0, []any{"added", r.Added, "changed", r.Changed, "removed", r.Removed,
		"unchanged", r.Unchanged, "wrong", r.Failed}
}

// An ImportLine tells what became of one line.
type ImportLine struct {
	Line    int      `json:"line"`
	Address string   `json:"address"`
	Action  string   `json:"action"` // "add", "change", "unchanged", "remove" or "error"
	Error   string   `json:"error,omitempty"`
	Notes   []string `json:"notes"`
}

// An importPlan is an import before it is carried out: the writes, and the
// passwords that are still to be hashed, by the index of their write.
type importPlan struct {
	reply     AccountImportReply
	writes    []store.AccountWrite
	before    []store.Account // as the plan found them; without ID for new ones
	passwords []string        // "" leaves the credentials as they are
}

func (c *Control) accountImport(ctx context.Context, q AccountImportRequest, p store.Progress) (
	AccountImportReply, error) {
	var none AccountImportReply
	if q.Format != "" && q.Format != "sims" && q.Format != "eims" {
		return none, mail.Errorf(mail.Invalid,
			fmt.Sprintf("format %q: want sims or eims", Short(q.Format)))
	}
	t, err := parseTable(q.Content, q.Format == "eims")
	if err != nil {
		return none, err
	}
	domain := ""
	if q.Domain != "" {
		if domain, err = c.ownDomain(ctx, q.Domain); err != nil {
			return none, err
		}
	}
	plan, err := c.planImport(ctx, t, domain, p)
	if err != nil {
		return none, err
	}
	plan.reply.DryRun = q.DryRun
	if r := &plan.reply; r.Failed > 0 && !q.DryRun {
		r.Added, r.Changed, r.Unchanged, r.Removed = 0, 0, 0, 0
		return *r, nil
	}
	if q.DryRun || len(plan.writes) == 0 {
		return plan.reply, nil
	}
	// Hashing takes long, the change must not: nobody waits for the lock
	// meanwhile, and a plan that others have overtaken is refused.
	if err := c.hashPasswords(ctx, plan, p); err != nil {
		return none, err
	}
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.stillTrue(ctx, plan); err != nil {
		return none, err
	}
	if err := c.keepsPostmaster(ctx, plan.writes); err != nil {
		return none, err
	}
	p("writing accounts", 0, int64(len(plan.writes)))
	if err := c.store.WriteAccounts(ctx, plan.writes); err != nil {
		return none, err
	}
	p("writing accounts", int64(len(plan.writes)), int64(len(plan.writes)))
	return plan.reply, nil
}

// planImport finds out what each line means for the store.
func (c *Control) planImport(ctx context.Context, t *table, domain string, p store.Progress) (
	*importPlan, error) {
	plan := &importPlan{reply: AccountImportReply{
		Lines: make([]ImportLine, 0, len(t.rows)),
		Notes: append([]string{}, t.notes...),
	}}
	if len(t.rows) == 0 {
		plan.reply.Notes = append(plan.reply.Notes, "there are no accounts in the file")
	}
	seen := make(map[mail.Address]int, len(t.rows))
	for i := range t.rows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		row := &t.rows[i]
		line := ImportLine{Line: row.line, Address: Short(row.name), Notes: append([]string{}, row.notes...)}
		err := row.err
		if err == nil {
			err = c.planRow(ctx, plan, row, domain, seen, &line)
		}
		if err != nil {
			if mail.KindOf(err) == mail.Internal {
				return nil, err
			}
			line.Action, line.Error = "error", err.Error()
			plan.reply.Failed++
		}
		plan.reply.Lines = append(plan.reply.Lines, line)
		p("reading accounts", int64(i+1), int64(len(t.rows)))
	}
	return plan, nil
}

// planRow adds the write of one line to the plan.
func (c *Control) planRow(ctx context.Context, plan *importPlan, row *tableRow, domain string,
	seen map[mail.Address]int, line *ImportLine) error {
	name := row.name
	if domain != "" && !strings.Contains(name, "@") {
		name += "@" + domain
	}
	addr, err := c.parseAddress(ctx, name)
	if err != nil {
		return err
	}
	line.Address = addr.String()
	if first, ok := seen[addr]; ok {
		return mail.Errorf(mail.Invalid, fmt.Sprintf("the account is in line %d already", first))
	}
	seen[addr] = row.line

	var w store.AccountWrite
	before := store.Account{}
	old, err := c.store.Account(ctx, addr)
	switch {
	case err == nil && row.remove:
		plan.add(*old, store.AccountWrite{Account: *old, Remove: true}, "")
		plan.reply.Removed++
		line.Action = "remove"
		return nil
	case err == nil:
		before = *old
		w.Account = c.changing(old)
		line.Action = "change"
	case mail.KindOf(err) != mail.NotFound:
		return err
	case row.remove:
		return mail.Errorf(mail.NotFound, "there is no account "+addr.String())
	default:
		if addr, err = c.newAddress(ctx, name); err != nil {
			return err
		}
		w.Account = c.newAccount(addr)
		line.Action = "add"
	}
	change := c.fitting(row, &before, line)
	if err := c.apply(&change, &w.Account); err != nil {
		return err
	}
	raiseVersion(&before, &w.Account)
	if err := c.planPassword(ctx, &w, row, line); err != nil {
		return err
	}
	switch {
	case line.Action == "add":
		plan.reply.Added++
	case row.password == "" && same(before, w.Account):
		line.Action = "unchanged"
		plan.reply.Unchanged++
		return nil
	default:
		plan.reply.Changed++
	}
	plan.add(before, w, row.password)
	return nil
}

// fitting is a line's change without what this server cannot have or has
// already: a quota that is the same in kilobytes, a volume directory that
// only the server of the export has.
func (c *Control) fitting(row *tableRow, before *store.Account, line *ImportLine) AccountChange {
	change := row.change
	if before.ID != 0 && row.rounded && *change.QuotaBytes>>10 == max(sizeLimit(before.Quota), 0) {
		change.QuotaBytes = nil
	}
	volumes := len(c.settings.Current().List(settings.StoreVolumes))
	if change.Volume != nil && *change.Volume >= volumes {
		line.Notes = append(line.Notes, fmt.Sprintf("the volume directory %d was ignored: "+
			"store.volumes names %d", *change.Volume, volumes))
		change.Volume = nil
	}
	return change
}

// same says whether two rows differ in the time of their change at most.
func same(a, b store.Account) bool {
	b.Changed = a.Changed
	return a == b
}

// planPassword finds out what a line means for the credentials.
func (c *Control) planPassword(ctx context.Context, w *store.AccountWrite, row *tableRow,
	line *ImportLine) (err error) {
	note := ""
	switch {
	case row.password != "":
		if err := auth.CheckPassword(row.password); err != nil {
			return err
		}
		if line.Action == "change" {
			w.Account.Version++
			if w.Credentials, _, err = c.withApps(ctx, w.Account.ID, nil); err != nil {
				return err
			}
		}
		w.Replace = true
	case line.Action == "add":
		note = "no password: nobody can log in until one is set"
	case row.change.APOP != nil:
		if note, err = c.changeAPOP(ctx, w); err != nil {
			return err
		}
	}
	if note != "" {
		line.Notes = append(line.Notes, note)
	}
	return nil
}

func (p *importPlan) add(before store.Account, w store.AccountWrite, password string) {
	p.before = append(p.before, before)
	p.writes = append(p.writes, w)
	p.passwords = append(p.passwords, password)
}

// hashPasswords makes the credentials of the whole plan.
func (c *Control) hashPasswords(ctx context.Context, plan *importPlan, p store.Progress) error {
	total := int64(0)
	for _, password := range plan.passwords {
		if password != "" {
			total++
		}
	}
	done := int64(0)
	for i, password := range plan.passwords {
		if password == "" {
			continue
		}
		w := &plan.writes[i]
		creds, err := c.passwords.MakeCredentials(ctx, password,
			auth.CredentialOptions{APOP: w.Account.APOP})
		if err != nil {
			return fmt.Errorf("%s: %w", w.Account.Address, err)
		}
		w.Credentials = append(creds, w.Credentials...)
		done++
		p("hashing passwords", done, total)
	}
	return nil
}

// stillTrue says Conflict if an account of the plan has changed since.
func (c *Control) stillTrue(ctx context.Context, plan *importPlan) error {
	for i := range plan.before {
		before, address := &plan.before[i], plan.writes[i].Account.Address
		now, err := c.store.Account(ctx, address)
		switch {
		case err != nil && mail.KindOf(err) != mail.NotFound:
			return err
		case err != nil && before.ID == 0:
			continue
		case err != nil || now.ID != before.ID || now.Version != before.Version ||
			!now.Changed.Equal(before.Changed):
			return mail.Errorf(mail.Conflict, "the account "+address.String()+
				" was changed meanwhile; nothing was imported, so import again")
		}
	}
	return nil
}

// AccountExportRequest selects accounts.
type AccountExportRequest struct {
	Domain string `json:"domain,omitempty"` // all if empty
}

// AccountExportReply is a table as account.import reads it, without passwords.
type AccountExportReply struct {
	Content  string `json:"content"`
	Accounts int    `json:"accounts"`
}

func (c *Control) accountExport(ctx context.Context, q AccountExportRequest, p store.Progress) (
	AccountExportReply, error) {
	var r AccountExportReply
	var b strings.Builder
	b.WriteString(exportHeader + "\n")
	list := AccountListRequest{Domain: q.Domain}
	for {
		page, err := c.accountList(ctx, list)
		if err != nil {
			return r, err
		}
		for i := range page.Accounts {
			exportRow(&b, &page.Accounts[i])
		}
		r.Accounts += len(page.Accounts)
		p("writing accounts", int64(r.Accounts), 0)
		if !page.More {
			break
		}
		list.After = page.Accounts[len(page.Accounts)-1].Address
	}
	r.Content = b.String()
	return r, nil
}

func exportRow(b *strings.Builder, a *AccountInfo) {
	bytes := "" // what SizeLimit says is enough for most
	if a.QuotaBytes&(1<<10-1) != 0 {
		bytes = strconv.FormatInt(a.QuotaBytes, 10)
	}
	mode, address := "None", ""
	if ip, ok := strings.CutPrefix(a.Notify, "ip:"); ok {
		mode, address = "Notify", ip
	} else if a.Notify == "last-ip" {
		mode = "Notify IP"
	}
	// APOPrequired has no word for allowed; an empty cell leaves it as it is.
	apop := map[string]string{"off": "false", "required": "true"}[a.APOP]
	fmt.Fprintf(b, "%s\t%s\t%t\t%t\t%d\t%s\t%s\t%s\t%s\t%s\t%d\n", a.Address, a.FullName, a.Enabled,
		a.Login, sizeLimit(a.QuotaBytes), apop, mode, address, bytes, a.APOP, a.Volume)
}
