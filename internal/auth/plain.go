package auth

import (
	"bytes"
	"context"
	"time"
	"unicode/utf8"
)

// stepLimit is how long one step of an exchange may take, its delay included.
const stepLimit = time.Minute

// maxResponse limits one response of PLAIN, LOGIN and SCRAM, in bytes.
const maxResponse = 4 << 10

// A plainExchange is the mechanism PLAIN (RFC 4616).
type plainExchange struct {
	auth    *Authenticator
	channel Channel
	done    bool
}

// Next takes the one message: [authzid] NUL authcid NUL passwd.
func (x *plainExchange) Next(response []byte) ([]byte, *Identity, error) {
	if x.done {
		return nil, nil, ErrSyntax
	}
	if response == nil {
		return []byte{}, nil, nil
	}
	x.done = true
	parts := bytes.Split(response, []byte{0})
	if len(response) > maxResponse || len(parts) != 3 || !utf8.Valid(response) {
		return nil, nil, ErrSyntax
	}
	// RFC 4616 section 2: neither authcid nor passwd is empty.
	authzid, user, password := string(parts[0]), string(parts[1]), string(parts[2])
	if user == "" || password == "" {
		return nil, nil, ErrSyntax
	}
	ctx, cancel := x.auth.stepContext()
	defer cancel()
	if !x.auth.sameUser(ctx, authzid, user) {
		x.auth.logRefusal(ctx, &x.channel, mechPlain, user, reasonAuthzid)
		return nil, nil, ErrCredentials
	}
	id, err := x.auth.password(ctx, &x.channel, mechPlain, user, password)
	return nil, id, err
}

// stepContext is that of a step of an exchange; Next has none of its own.
func (a *Authenticator) stepContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(a.base, stepLimit)
}

// sameUser says whether an authorization identity is empty or another way to
// write the user; nobody acts for somebody else (RFC 4422 section 3.4.1).
func (a *Authenticator) sameUser(ctx context.Context, authzid, user string) bool {
	if authzid == "" || authzid == user {
		return true
	}
	x, err1 := a.resolve(ctx, authzid)
	y, err2 := a.resolve(ctx, user)
	return err1 == nil && err2 == nil && !x.IsZero() && x.Key() == y.Key()
}

// A loginExchange is the mechanism LOGIN, which has no RFC: the server asks
// for the user name and for the password.
type loginExchange struct {
	auth    *Authenticator
	channel Channel
	user    string
	state   int
}

const (
	loginStart = iota
	loginUser
	loginPassword
	loginDone
)

// Next takes the name, then the password. An initial response is the name.
func (x *loginExchange) Next(response []byte) ([]byte, *Identity, error) {
	switch {
	case x.state == loginStart && response == nil:
		x.state = loginUser
		return []byte("Username:"), nil, nil
	case x.state == loginStart || x.state == loginUser:
		if len(response) == 0 || len(response) > maxResponse || !utf8.Valid(response) {
			x.state = loginDone
			return nil, nil, ErrSyntax
		}
		x.user, x.state = string(response), loginPassword
		return []byte("Password:"), nil, nil
	case x.state == loginPassword:
		x.state = loginDone
		if len(response) > maxResponse || !utf8.Valid(response) {
			return nil, nil, ErrSyntax
		}
		ctx, cancel := x.auth.stepContext()
		defer cancel()
		id, err := x.auth.password(ctx, &x.channel, mechLogin, x.user, string(response))
		return nil, id, err
	default:
		return nil, nil, ErrSyntax
	}
}
