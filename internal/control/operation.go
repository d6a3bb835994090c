package control

import (
	"context"
	"encoding/json"
	"log/slog"
	"reflect"

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
	c.log.Log(ctx, o.level, o.name, "subject", subjectOf(q))
	return json.Marshal(r)
}

// subjectOf is what a request is about, for the log.
func subjectOf(q any) string {
	if s, ok := q.(interface{ subject() string }); ok {
		return s.subject()
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
func (q ConfigApplyRequest) subject() string     { return q.Name }

// An Operation is an Op of any types.
type Operation interface {
	Name() string
	Doc() string
	Types() (request, reply reflect.Type)
	serve(context.Context, *Control, []byte, store.Progress) (json.RawMessage, error)
}

// query makes an operation that changes nothing.
func query[Q, R any](name, doc string, run func(*Control, context.Context, Q) (R, error)) Op[Q, R] {
	return long(name, doc, journal.Everything, silent(run))
}

// change makes an operation that changes something, which the log remembers.
func change[Q, R any](name, doc string, run func(*Control, context.Context, Q) (R, error)) Op[Q, R] {
	return long(name, doc, journal.Major, silent(run))
}

// long makes an operation that may take a while and tells its progress.
func long[Q, R any](name, doc string, level slog.Level,
	run func(*Control, context.Context, Q, store.Progress) (R, error)) Op[Q, R] {
	return Op[Q, R]{name, doc, level, run}
}

// silent is for operations that answer at once.
func silent[Q, R any](run func(*Control, context.Context, Q) (R, error)) func(
	*Control, context.Context, Q, store.Progress) (R, error) {
	return func(c *Control, ctx context.Context, q Q, _ store.Progress) (R, error) {
		return run(c, ctx, q)
	}
}

// The operations.
var (
	AccountAdd      = change("account.add", "makes an account", (*Control).accountAdd)
	AccountList     = query("account.list", "lists accounts", (*Control).accountList)
	AccountShow     = query("account.show", "shows one account", (*Control).accountShow)
	AccountSet      = change("account.set", "changes an account", (*Control).accountSet)
	AccountPassword = change("account.password", "sets a password", (*Control).accountPassword)
	AccountRemove   = change("account.remove", "removes an account and its mail",
		(*Control).accountRemove)
	AccountImport = long("account.import", "makes and changes accounts from a table",
		journal.Major, (*Control).accountImport)
	AccountExport = long("account.export", "writes accounts as a table", journal.Everything,
		(*Control).accountExport)

	AppPasswordAdd = change("account.app.add", "makes an app password",
		(*Control).appPasswordAdd)
	AppPasswordList = query("account.app.list", "lists app passwords",
		(*Control).appPasswordList)
	AppPasswordRemove = change("account.app.remove", "removes an app password",
		(*Control).appPasswordRemove)

	DomainAdd    = change("domain.add", "adds a domain", (*Control).domainAdd)
	DomainList   = query("domain.list", "lists domains", (*Control).domainList)
	DomainMain   = change("domain.main", "makes a domain the main one", (*Control).domainMain)
	DomainRemove = change("domain.remove", "removes a domain", (*Control).domainRemove)

	SettingsList = query("settings.list", "shows settings and where they come from",
		(*Control).settingsList)
	SettingsSet   = change("settings.set", "changes a setting", (*Control).settingsSet)
	SettingsReset = change("settings.reset", "gives a setting its default again",
		(*Control).settingsReset)
	ConfigExport = query("config.export", "writes the settings as a file",
		(*Control).configExport)
	ConfigApply   = change("config.apply", "sets what a file names", (*Control).configApply)
	ConfigDefault = query("config.default", "writes a file with every setting explained",
		(*Control).configDefault)

	Check = long("check", "proves the invariants of the store", journal.Major, (*Control).check)
	Trace = query("trace", "tells what happened to a message", (*Control).trace)

	Status = query("server.status", "tells how the server is", (*Control).status)
	Stop   = change("server.stop", "stops the server", (*Control).stop)
	Reload = change("server.reload", "reads certificates and settings again", (*Control).reload)
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
		Check, Trace,
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
