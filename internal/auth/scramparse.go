package auth

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// A clientFirst is the first message of a SCRAM client, RFC 5802 section 7.
type clientFirst struct {
	gs2     string // the gs2-header, with its second comma
	flag    byte   // 'n', 'y' or 'p'
	binding string // the type's name after p=
	authzid string
	bare    string // all that follows the gs2-header
	user    string
	nonce   string
}

func parseClientFirst(s string) (*clientFirst, bool) {
	if !utf8.ValidString(s) {
		return nil, false
	}
	flag, rest, ok1 := strings.Cut(s, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	if !ok1 || !ok2 || flag == "" {
		return nil, false
	}
	m := &clientFirst{gs2: s[:len(s)-len(bare)], flag: flag[0], bare: bare}
	switch {
	case flag == "n" || flag == "y":
	case strings.HasPrefix(flag, "p=") && len(flag) > 2:
		m.binding = flag[2:]
	default:
		return nil, false
	}
	if authzid != "" {
		var ok bool
		if authzid, ok = strings.CutPrefix(authzid, "a="); !ok {
			return nil, false
		}
		if m.authzid, ok = decodeSaslName(authzid); !ok {
			return nil, false
		}
	}
	// A message that begins with m= wants an extension that we do not know,
	// and must fail (RFC 5802 section 5.1); it does, for want of n=.
	parts := strings.Split(bare, ",")
	if len(parts) < 2 || !extensions(parts[2:]) {
		return nil, false
	}
	user, ok1 := strings.CutPrefix(parts[0], "n=")
	nonce, ok2 := strings.CutPrefix(parts[1], "r=")
	if !ok1 || !ok2 || !validNonce(nonce) || len(nonce) > maxNonce {
		return nil, false
	}
	m.nonce = nonce
	m.user, ok1 = decodeSaslName(user)
	return m, ok1
}

// A clientFinal is the second message of a SCRAM client, RFC 5802 section 7.
type clientFinal struct {
	binding      []byte
	nonce        string
	proof        []byte
	withoutProof string
}

func parseClientFinal(s string) (*clientFinal, bool) {
	at := strings.LastIndex(s, ",p=")
	if at < 0 || !utf8.ValidString(s) {
		return nil, false
	}
	m := &clientFinal{withoutProof: s[:at]}
	parts := strings.Split(m.withoutProof, ",")
	if len(parts) < 2 || !extensions(parts[2:]) {
		return nil, false
	}
	binding, ok1 := strings.CutPrefix(parts[0], "c=")
	nonce, ok2 := strings.CutPrefix(parts[1], "r=")
	var err1, err2 error
	m.binding, err1 = base64.StdEncoding.Strict().DecodeString(binding)
	m.proof, err2 = base64.StdEncoding.Strict().DecodeString(s[at+len(",p="):])
	m.nonce = nonce
	return m, ok1 && ok2 && err1 == nil && err2 == nil && validNonce(nonce)
}

// RFC 5802 section 7: extensions are attributes of one letter, for us to
// ignore, except m=.
func extensions(list []string) bool {
	for _, s := range list {
		if len(s) < 3 || s[1] != '=' || s[0] == 'm' {
			return false
		}
		if c := s[0] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// RFC 5802 section 7: a nonce is printable ASCII without comma.
func validNonce(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ',' {
			return false
		}
	}
	return s != ""
}

// decodeSaslName reads saslname of RFC 5802 section 7: =2C is a comma and =3D
// an equals sign, and no other = may stand there.
func decodeSaslName(s string) (string, bool) {
	if s == "" || strings.IndexByte(s, 0) >= 0 {
		return "", false
	}
	if strings.IndexByte(s, '=') < 0 {
		return s, true
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "=")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		switch {
		case strings.HasPrefix(after, "2C"):
			b.WriteByte(',')
		case strings.HasPrefix(after, "3D"):
			b.WriteByte('=')
		default:
			return "", false
		}
		s = after[2:]
	}
}
