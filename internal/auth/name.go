package auth

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"postrider/internal/mail"
)

// Names is the policy for names of new accounts.
type Names struct {
	AllowDots bool // Sambar did not
}

// maxLocalBytes limits a local part (RFC 5321 section 4.5.3.1.1).
const maxLocalBytes = 64

// CheckName says why an account cannot have this local part; the error has
// kind Invalid. Letters and digits of any script may stand there, and
// . - _ ' within; case does not matter. The name must be written in the form
// that a login gives it, or it would name another account there.
func CheckName(local string, n Names) error {
	refuse := func(format string, args ...any) error {
		return mail.Errorf(mail.Invalid, fmt.Sprintf(format, args...))
	}
	form := foldedName(local)
	switch {
	case form == "":
		return refuse("the account name is empty")
	case len(local) > maxLocalBytes:
		return refuse("the account name is longer than %d bytes", maxLocalBytes)
	case !utf8.ValidString(local):
		return refuse("the account name is not valid UTF-8")
	case reservedName(form):
		return refuse("%q is a reserved name and cannot be an account", local)
	case strings.HasPrefix(form, "l-"):
		return refuse("names that begin with L- are reserved for distribution lists: %q", local)
	case strings.ToLower(local) != form:
		return refuse("the account name %q is not in the Unicode form of a login name: write %q",
			local, form)
	case !n.AllowDots && strings.Contains(local, "."):
		return refuse("dots are not allowed in account names here: %q", local)
	case local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, ".."):
		return refuse("a dot in an account name stands between two other characters: %q", local)
	case local[0] == '-':
		return refuse("an account name does not begin with a hyphen: %q", local)
	}
	for _, r := range local {
		if !nameRune(r) {
			return refuse("the account name %q may not have the character %q", local, r)
		}
	}
	return nil
}

// foldedName is the name under which a login looks for this one: mapped and in
// form KC as by SASLprep (RFC 4013 sections 2.1 and 2.2), and in lower case,
// where some letters compose that do not in upper case.
func foldedName(local string) string {
	form := norm.NFKC.String(strings.Map(mapped, local))
	return norm.NFKC.String(strings.ToLower(form))
}

// reservedName is T7: the targets of routes that are no accounts.
func reservedName(local string) bool {
	switch strings.ToUpper(local) {
	case "NULL", "ERROR", "BLACKLISTED", "SPAMTRAP":
		return true
	}
	return false
}

// nameRune leaves out what routes, sub-addresses and lists of addresses give
// a meaning to.
func nameRune(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
			strings.ContainsRune(".-_'", r)
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}
