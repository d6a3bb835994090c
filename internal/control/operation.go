package control

import (
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"strings"

	"postrider/internal/journal"
	"postrider/internal/mail"
	"postrider/internal/store"
)

// A Caller runs an operation by its name. The request is encoded and the
// reply decoded as JSON, in this process too, so that both ways are one.
// Errors keep their mail.Kind. Progress may be nil.
type Caller interface {
	Call(ctx context.Context, name string, request, reply any, p store.Progress) error
}

// An Op is one administrative operation, with request Q and reply R.
type Op[Q, R any] struct {
	name  string
	doc   string
	level slog.Level // at which it is logged when it is done
	run   func(*Control, context.Context, Q, store.Progress) (R, error)
}

// Call runs the operation through c.
func (o Op[Q, R]) Call(ctx context.Context, c Caller, q Q, p store.Progress) (R, error) {
	var r R
	err := c.Call(ctx, o.name, q, &r, p)
	return r, err
}

// Name is what the operation is called on the control socket.
func (o Op[Q, R]) Name() string { return o.name }

// Doc says in a sentence what the operation does.
func (o Op[Q, R]) Doc() string { return o.doc }

// Types gives the types of request and reply.
func (o Op[Q, R]) Types() (request, reply reflect.Type) {
	return reflect.TypeFor[Q](), reflect.TypeFor[R]()
}

func (o Op[Q, R]) serve(ctx context.Context, c *Control, raw []byte,
	p store.Progress) (json.RawMessage, error) {
	var q Q
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &q); err != nil {
			return nil, &mail.Error{Kind: mail.Invalid, Text: o.name + ": wrong request", Err: err}
		}
	}
	if p == nil {
		p = func(string, int64, int64) {}
	}
	r, err := o.run(c, ctx, q, p)
	if err != nil {
		c.log.Log(ctx, journal.Low, o.name+" failed", "subject", subjectOf(q), "error", err)
		return nil, err
	}
	level := o.level
	if d, ok := any(q).(interface{ onlyLooks() bool }); ok && d.onlyLooks() {
		level = reads
	}
	text, facts := o.name, []any{"subject", subjectOf(q)}
	if out, ok := any(r).(interface {
		outcome() (done bool, facts []any)
	}); ok {
		done, more := out.outcome()
		if facts = append(facts, more...); !done {
			level, text = min(level, journal.Low), text+" failed"
		}
	}
	c.log.Log(ctx, level, text, facts...)
	return json.Marshal(r)
}

// Requests of operations that change something can ask for less: these say
// whether this one only looks what there is or would be.

func (q AccountImportRequest) onlyLooks() bool { return q.DryRun }
func (q ConfigApplyRequest) onlyLooks() bool   { return q.DryRun }
func (q CheckRequest) onlyLooks() bool         { return !q.Repair }

// subjectOf is what a request is about, for the log.
func subjectOf(q any) string {
	if s, ok := q.(interface{ subject() string }); ok {
		return Short(s.subject())
	}
	return ""
}

func (q AccountAddRequest) subject() string      { return q.Address }
func (q AccountSetRequest) subject() string      { return q.Address }
func (q AccountPasswordRequest) subject() string { return q.Address }
func (q AddressRequest) subject() string         { return q.Address }
func (q AppPasswordRequest) subject() string     { return q.Address + " " + q.Name }
func (q DomainRequest) subject() string          { return q.Name }
func (q SettingRequest) subject() string         { return q.Key }
func (q SettingsResetRequest) subject() string   { return strings.Join(q.Keys, " ") }
func (q ConfigApplyRequest) subject() string     { return q.Name }
func (q AccountImportRequest) subject() string   { return q.Name }

func (q SettingsSetRequest) subject() string {
	var names []string
	for _, a := range q.Settings {
		names = append(names, a.Name)
	}
	return strings.Join(names, " ")
}

// An Operation is an Op of any types.
type Operation interface {
	Name() string
	Doc() string
	Types() (request, reply reflect.Type)
	serve(context.Context, *Control, []byte, store.Progress) (json.RawMessage, error)
}

// At which level operations are logged when they are done: those that only
// read, and those that change something.
const (
	reads  = journal.Everything
	writes = journal.Major
)

// quick makes an operation that answers at once.
func quick[Q, R any](name string, level slog.Level, doc string,
	run func(*Control, context.Context, Q) (R, error)) Op[Q, R] {
	silent := func(c *Control, ctx context.Context, q Q, _ store.Progress) (R, error) {
		return run(c, ctx, q)
	}
	return Op[Q, R]{name, doc, level, silent}
}

// long makes an operation that may take a while and tells its progress.
func long[Q, R any](name string, level slog.Level, doc string,
	run func(*Control, context.Context, Q, store.Progress) (R, error)) Op[Q, R] {
	return Op[Q, R]{name, doc, level, run}
}

// The operations.
var (
	AccountAdd      = quick("account.add", writes, "makes an account", (*Control).accountAdd)
	AccountList     = quick("account.list", reads, "lists accounts", (*Control).accountList)
	AccountShow     = quick("account.show", reads, "shows one account", (*Control).accountShow)
	AccountSet      = quick("account.set", writes, "changes an account", (*Control).accountSet)
	AccountPassword = quick("account.password", writes, "sets a password", (*Control).accountPassword)
	AccountRemove   = quick("account.remove", writes, "removes an account and its mail",
		(*Control).accountRemove)
	AccountImport = long("account.import", writes, "makes and changes accounts from a table",
		(*Control).accountImport)
	AccountExport = long("account.export", reads, "writes accounts as a table",
		(*Control).accountExport)

	AppPasswordAdd = quick("account.app.add", writes, "makes an app password",
		(*Control).appPasswordAdd)
	AppPasswordList = quick("account.app.list", reads, "lists app passwords",
		(*Control).appPasswordList)
	AppPasswordRemove = quick("account.app.remove", writes, "removes an app password",
		(*Control).appPasswordRemove)

	DomainAdd    = quick("domain.add", writes, "adds a domain", (*Control).domainAdd)
	DomainList   = quick("domain.list", reads, "lists domains", (*Control).domainList)
	DomainMain   = quick("domain.main", writes, "makes a domain the main one", (*Control).domainMain)
	DomainRemove = quick("domain.remove", writes, "removes a domain", (*Control).domainRemove)

	SettingsList = quick("settings.list", reads, "shows settings and where they come from",
		(*Control).settingsList)
	SettingsSet   = quick("settings.set", writes, "changes settings", (*Control).settingsSet)
	SettingsReset = quick("settings.reset", writes, "gives settings their defaults again",
		(*Control).settingsReset)
	ConfigExport = quick("config.export", reads, "writes the settings as a file",
		(*Control).configExport)
	ConfigApply   = quick("config.apply", writes, "sets what a file names", (*Control).configApply)
	ConfigDefault = quick("config.default", reads, "writes a file with every setting explained",
		(*Control).configDefault)

	Check = long("check", writes, "proves the invariants of the store", (*Control).check)
	Trace = quick("trace", reads, "tells what happened to a message", (*Control).trace)

	LogLevels = quick("log.levels", reads, "lists what the running server logs of each component",
		(*Control).logLevels)
	LogLevelSet = quick("log.level", writes, "changes what the running server logs, for a time",
		(*Control).logLevelSet)

	Status = quick("server.status", reads, "tells how the server is", (*Control).status)
	Stop   = quick("server.stop", writes, "stops the server", (*Control).stop)
	Reload = quick("server.reload", writes, "reads certificates and settings again", (*Control).reload)
)

// Operations lists every operation.
func Operations() []Operation {
	return []Operation{
		AccountAdd, AccountList, AccountShow, AccountSet, AccountPassword, AccountRemove,
		AccountImport, AccountExport,
		AppPasswordAdd, AppPasswordList, AppPasswordRemove,
		DomainAdd, DomainList, DomainMain, DomainRemove,
		SettingsList, SettingsSet, SettingsReset, ConfigExport, ConfigApply,
		ConfigDefault,
		Check, Trace, LogLevels, LogLevelSet,
		Status, Stop, Reload,
	}
}

// Call runs an operation in this process.
func (c *Control) Call(ctx context.Context, name string, request, reply any,
	p store.Progress) error {
	raw, err := json.Marshal(request)
	if err != nil {
		return err
	}
	out, err := c.dispatch(ctx, name, raw, p)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, reply)
}

func (c *Control) dispatch(ctx context.Context, name string, raw []byte,
	p store.Progress) (json.RawMessage, error) {
	for _, o := range Operations() {
		if o.Name() == name {
			return o.serve(ctx, c, raw, p)
		}
	}
	return nil, mail.Errorf(mail.NotFound, "there is no operation "+name)
}
