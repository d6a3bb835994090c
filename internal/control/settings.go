package control

import (
	"context"

	"postrider/internal/settings"
)

// A SettingRequest names a setting; an empty one means all.
type SettingRequest struct {
	Key string `json:"key,omitempty"`
}

// SettingsListReply explains settings, in the order of the reference manual.
type SettingsListReply struct {
	Settings []settings.Explanation `json:"settings"`
}

func (c *Control) settingsList(_ context.Context, q SettingRequest) (SettingsListReply, error) {
	if q.Key == "" {
		return SettingsListReply{Settings: c.settings.List()}, nil
	}
	e, err := c.settings.Explain(q.Key)
	return SettingsListReply{Settings: []settings.Explanation{e}}, err
}

// SettingsReply lists what has changed, or with a dry run would change.
type SettingsReply struct {
	Changes []settings.Change `json:"changes"`
	// Running says that a server runs; a change that needs a restart then
	// waits for it.
	Running bool `json:"running"`
	// Notes are sentences, without a full stop, about what a file was applied
	// without.
	Notes []string `json:"notes"`
}

// SettingsSetRequest changes settings, all or none.
type SettingsSetRequest struct {
	Settings []settings.Assignment `json:"settings"`
}

func (c *Control) settingsSet(ctx context.Context, q SettingsSetRequest) (SettingsReply, error) {
	changes, err := c.settings.SetAll(ctx, q.Settings)
	return c.changed(settings.Applied{Changes: changes}, err)
}

// SettingsResetRequest resets settings, all or none.
type SettingsResetRequest struct {
	Keys []string `json:"keys"`
}

func (c *Control) settingsReset(ctx context.Context, q SettingsResetRequest) (
	SettingsReply, error) {
	changes, err := c.settings.ResetAll(ctx, q.Keys)
	return c.changed(settings.Applied{Changes: changes}, err)
}

func (c *Control) changed(a settings.Applied, err error) (SettingsReply, error) {
	return SettingsReply{Changes: append([]settings.Change{}, a.Changes...),
		Running: c.host != nil, Notes: append([]string{}, a.Notes...)}, err
}

// ConfigExportRequest asks for the settings as a file.
type ConfigExportRequest struct {
	All bool `json:"all,omitempty"` // also those that have their default
}

// ConfigFile is the content of a settings file.
type ConfigFile struct {
	Content string `json:"content"`
}

func (c *Control) configExport(_ context.Context, q ConfigExportRequest) (ConfigFile, error) {
	return ConfigFile{Content: string(c.settings.Export(q.All))}, nil
}

func (c *Control) configDefault(context.Context, None) (ConfigFile, error) {
	return ConfigFile{Content: string(settings.Example())}, nil
}

// ConfigApplyRequest holds a settings file that the database takes over.
type ConfigApplyRequest struct {
	Name    string `json:"name"` // of the file, for messages
	Content string `json:"content"`
	Replace bool   `json:"replace,omitempty"` // reset what it does not name
	DryRun  bool   `json:"dry_run,omitempty"`
}

func (c *Control) configApply(ctx context.Context, q ConfigApplyRequest) (SettingsReply, error) {
	return c.changed(c.settings.Apply(ctx, q.Name, []byte(q.Content),
		settings.ApplyOptions{Replace: q.Replace, DryRun: q.DryRun}))
}
