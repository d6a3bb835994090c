package engine

import (
	"fmt"
	"strings"

	"postrider/internal/certs"
	"postrider/internal/mail"
	"postrider/internal/settings"
)

// Certificates is what a state of the settings says of certificates, with
// paths as they are found from the data directory. Errors are those of
// certs.ParseVersion.
func (e *Engine) Certificates(v *settings.Values) (certs.Config, error) {
	version, err := certs.ParseVersion(v.String(settings.TLSMinVersion))
	resolve := func(paths []string) []string {
		var list []string
		for _, p := range paths {
			list = append(list, e.Dir.Resolve(p))
		}
		return list
	}
	return certs.Config{
		Certificates: resolve(v.List(settings.TLSCertificate)),
		Keys:         resolve(v.List(settings.TLSKey)),
		SelfMade:     e.Dir.Resolve("tls.pem"),
		MinVersion:   version,
	}, err
}

// TryCertificates says whether certificates that a change of settings names
// can be loaded by this process; it is a guard for Registry.Guard. An error
// of kind Conflict names the file and what is wrong with it. If only one of
// tls.certificate and tls.key changes and they do not fit, it has the command
// that changes both.
func (e *Engine) TryCertificates(from, to *settings.Values) error {
	c, err := e.Certificates(to)
	if err != nil {
		return err
	}
	if len(c.Certificates) != len(c.Keys) {
		return mail.Errorf(mail.Invalid, fmt.Sprintf(
			"tls.certificate would name %s and tls.key %s: each certificate needs its key. %s",
			files(c.Certificates), files(c.Keys), together(from, to)))
	}
	err = certs.Try(c)
	if mail.KindOf(err) != mail.Invalid || err == nil {
		return err
	}
	changed := strings.Join(to.Changed(from), " ")
	if !strings.Contains(changed, "tls.certificate") && !strings.Contains(changed, "tls.key") {
		// What was asked for is right; what is in use is not.
		return &mail.Error{Kind: mail.Conflict, Text: "the certificate in use is wrong", Err: err}
	}
	if strings.Contains(changed, "tls.certificate") != strings.Contains(changed, "tls.key") {
		return mail.Errorf(mail.Invalid, err.Error()+". "+together(from, to))
	}
	// What is wrong is a file and not what was asked for.
	return mail.Errorf(mail.Conflict, err.Error())
}

func files(list []string) string {
	switch len(list) {
	case 0:
		return "no file"
	case 1:
		return "one file"
	}
	return fmt.Sprintf("%d files", len(list))
}

// together is the advice to change certificates and keys with one command.
func together(from, to *settings.Values) string {
	for _, key := range []settings.ListKey{settings.TLSCertificate, settings.TLSKey} {
		if len(to.List(key)) == 0 && len(from.List(key)) > 0 {
			return "Reset both together: postrider settings reset tls.certificate tls.key"
		}
	}
	return "Set both together: postrider settings set tls.certificate " +
		argument(from, to, settings.TLSCertificate) + " tls.key " +
		argument(from, to, settings.TLSKey)
}

// argument is the new value of a key as it stands on a command line, or a
// placeholder for one that has not changed.
func argument(from, to *settings.Values, key settings.ListKey) string {
	value := strings.Join(to.List(key), ", ")
	if value == "" || value == strings.Join(from.List(key), ", ") {
		return "FILE"
	}
	if strings.ContainsAny(value, " \t\\\"'$&;()<>|*?`") {
		return `"` + value + `"`
	}
	return value
}
