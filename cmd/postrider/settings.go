package main

import (
	"context"
	"fmt"
	"io"

	"postrider/internal/control"
	"postrider/internal/settings"
	"postrider/internal/terminal"
)

func (c *call) settingsShow(ctx context.Context) error {
	return c.with(ctx, func(s control.Caller) error {
		q := control.SettingRequest{Key: c.line.Arg(0)}
		r, err := control.SettingsList.Call(ctx, s, q, nil)
		if err != nil {
			return err
		}
		if q.Key != "" {
			return c.Answer(r.Settings[0], func(w io.Writer) { printSetting(w, &r.Settings[0]) })
		}
		return c.Answer(r.Settings, func(w io.Writer) {
			rows := [][]string{{"SETTING", "VALUE", "FROM"}}
			for i := range r.Settings {
				e := &r.Settings[i]
				from := e.Where
				if e.Pending {
					from += " (needs a restart)"
				}
				rows = append(rows, []string{e.Name, shown(e.Value), from})
			}
			terminal.Table(w, rows)
		})
	})
}

// shown makes an empty value visible.
func shown(value string) string {
	if value == "" {
		return "(empty)"
	}
	return value
}

func printSetting(w io.Writer, e *settings.Explanation) {
	fmt.Fprintf(w, "%s = %s\n%s\n\n", e.Name, shown(e.Value), e.Help)
	rows := [][]string{{"From", e.Where}}
	if e.Stored != "" {
		rows = append(rows, []string{"In the database", e.Stored + " (does not hold)"})
	}
	change := "at once"
	switch {
	case e.Pending:
		change = "changed already; needs a restart"
	case e.Restart:
		change = "at the next start"
	}
	rows = append(rows, []string{"Default", shown(e.Default)}, []string{"Wanted", e.Want},
		[]string{"Takes effect", change}, []string{"Scope", e.Scope})
	terminal.Table(w, rows)
}

func (c *call) settingsSet(ctx context.Context) error {
	var q control.SettingsSetRequest
	for i := 0; i < len(c.line.Args); i += 2 {
		if i+1 == len(c.line.Args) {
			return c.usage("settings set: %s has no value after it", c.line.Args[i])
		}
		q.Settings = append(q.Settings,
			settings.Assignment{Name: c.line.Args[i], Value: c.line.Args[i+1]})
	}
	return do(ctx, c, control.SettingsSet, q, c.printChanges)
}

func (c *call) settingsReset(ctx context.Context) error {
	q := control.SettingsResetRequest{Keys: c.line.Args}
	return do(ctx, c, control.SettingsReset, q, c.printChanges)
}

func (c *call) printChanges(w io.Writer, r *control.SettingsReply) {
	for _, note := range r.Notes {
		fmt.Fprintf(w, "Note: %s.\n", note)
	}
	if len(r.Changes) == 0 {
		fmt.Fprintln(w, "Nothing changes.")
		return
	}
	restart := false
	for _, ch := range r.Changes {
		switch {
		case ch.Reset && ch.Old == ch.New:
			fmt.Fprintf(w, "%s: %s, now as the default\n", ch.Name, shown(ch.New))
		case ch.Reset:
			fmt.Fprintf(w, "%s: %s -> %s (default)\n", ch.Name, shown(ch.Old), shown(ch.New))
		default:
			fmt.Fprintf(w, "%s: %s -> %s\n", ch.Name, shown(ch.Old), shown(ch.New))
		}
		restart = restart || ch.Restart
	}
	switch {
	case c.opt.dryRun:
		fmt.Fprintln(w, "Nothing was changed: this was a dry run.")
	case restart && r.Running:
		fmt.Fprintln(w, "Part of this needs a restart of the server.")
	}
}

func (c *call) configExport(ctx context.Context) error {
	return do(ctx, c, control.ConfigExport, control.ConfigExportRequest{All: c.opt.all}, printFile)
}

func (c *call) configApply(ctx context.Context) error {
	content, err := c.input(c.line.Arg(0))
	if err != nil {
		return err
	}
	c.content = true
	q := control.ConfigApplyRequest{Name: c.fileName(0), Content: string(content),
		Replace: c.opt.replace, DryRun: c.opt.dryRun}
	return do(ctx, c, control.ConfigApply, q, c.printChanges)
}

// configDefault needs no data directory.
func (c *call) configDefault(context.Context) error {
	r := control.ConfigFile{Content: string(settings.Example())}
	return c.Answer(r, func(w io.Writer) { printFile(w, &r) })
}

func printFile(w io.Writer, r *control.ConfigFile) { io.WriteString(w, r.Content) }
