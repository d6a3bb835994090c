package smtpd

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/internal/auth"
	"postrider/internal/intake"
	"postrider/internal/mail"
)

// A fakeHall takes mail for everybody but a few, and remembers it. What it
// does is chosen by local parts: see Rcpt.
type fakeHall struct {
	mu       sync.Mutex
	messages []*fakeMessage
	aborted  int
	refused  []string // what the door refused by itself
}

type fakeMessage struct {
	visitor intake.Visitor
	from    mail.Address
	params  mail.MailParams
	to      []mail.Address
	rcpts   []mail.RcptParams
	body    bytes.Buffer
}

// String is the message as transcripts compare it.
func (m *fakeMessage) String() string {
	var b strings.Builder
	from := m.from.String()
	if m.from.IsZero() {
		from = "<>"
	}
	fmt.Fprintf(&b, "%s %s %s", m.visitor.With, m.visitor.Helo, from)
	if m.visitor.User != nil {
		fmt.Fprintf(&b, " user=%s", m.visitor.User.Address.String())
	}
	for _, to := range m.to {
		fmt.Fprintf(&b, " >%s", to.String())
	}
	return b.String()
}

// describe tells the parameters of a message.
func (m *fakeMessage) describe() string {
	p := m.params
	s := fmt.Sprintf("size=%d body=%d utf8=%t tls=%t auth=%q ret=%q envid=%q",
		p.Size, p.Body, p.UTF8, p.RequireTLS, p.Auth, p.Return, p.EnvelopeID)
	if !p.HoldUntil.IsZero() {
		s += " hold=" + p.HoldUntil.UTC().Format(time.RFC3339)
	}
	for _, r := range m.rcpts {
		s += fmt.Sprintf(" notify=%q orcpt=%q", r.Notify, r.Original)
	}
	return s
}

func (h *fakeHall) From(_ context.Context, v *intake.Visitor, from mail.Address,
	p mail.MailParams,
) (intake.Transaction, error) {
	switch from.Local {
	case "spammer":
		return nil, mail.NewReply(550, "5.7.1", "not wanted here")
	case "panic":
		return nil, errors.New("something the peer must not see")
	}
	return &fakeTx{hall: h, m: &fakeMessage{visitor: *v, from: from, params: p}}, nil
}

func (h *fakeHall) Compose(context.Context, *intake.Visitor) (intake.Composition, error) {
	return nil, errors.New("not a door that composes")
}

// last is the message accepted last.
func (h *fakeHall) last() *fakeMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.messages) == 0 {
		return nil
	}
	return h.messages[len(h.messages)-1]
}

func (h *fakeHall) refusals() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.refused, "; ")
}

func (h *fakeHall) counts() (accepted, aborted int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.messages), h.aborted
}

type fakeTx struct {
	hall *fakeHall
	m    *fakeMessage
	done bool
	open bool
	fail *mail.Reply
}

func (t *fakeTx) Rcpt(_ context.Context, to mail.Address, p mail.RcptParams) error {
	switch to.Local {
	case "nobody":
		return mail.NewReply(550, "5.1.1", "no such user")
	case "busy":
		return mail.NewReply(450, "4.2.1", "try again later")
	case "gone":
		return mail.NewReply(530, "5.7.0", "authenticate again")
	case "closed":
		return mail.NewReply(421, "4.3.2", "the hall is closed")
	}
	t.m.to = append(t.m.to, to)
	t.m.rcpts = append(t.m.rcpts, p)
	return nil
}

func (t *fakeTx) has(local string) bool {
	for _, to := range t.m.to {
		if to.Local == local {
			return true
		}
	}
	return false
}

func (t *fakeTx) Open(context.Context) error {
	if t.open {
		panic("opened twice")
	}
	t.open = true
	if t.has("nomemory") {
		return mail.NewReply(452, "4.3.1", "no room at the moment")
	}
	return nil
}

func (t *fakeTx) Write(p []byte) (int, error) {
	if !t.open {
		panic("written before open")
	}
	if t.has("fulldisk") {
		t.fail = mail.NewReply(452, "4.3.1", "the disk is full")
		return 0, t.fail
	}
	return t.m.body.Write(p)
}

func (t *fakeTx) Yield() {}

func (t *fakeTx) Commit(context.Context) (*intake.Receipt, error) {
	switch {
	case t.fail != nil:
		return nil, t.fail
	case t.has("goneatend"):
		return nil, mail.NewReply(530, "5.7.0", "authenticate again")
	case t.has("virus"):
		return nil, mail.NewReply(554, "5.7.1", "content refused")
	}
	t.done = true
	t.hall.mu.Lock()
	defer t.hall.mu.Unlock()
	t.hall.messages = append(t.hall.messages, t.m)
	r := &intake.Receipt{ID: fmt.Sprintf("M%d", len(t.hall.messages))}
	for _, to := range t.m.to {
		reply := mail.NewReply(250, "2.1.5", "delivered to "+to.String())
		if to.Local == "full" {
			reply = mail.NewReply(452, "4.2.2", "mailbox full")
		}
		r.Recipients = append(r.Recipients, reply)
	}
	return r, nil
}

func (t *fakeTx) Refuse(_ context.Context, r *mail.Reply) {
	t.hall.mu.Lock()
	defer t.hall.mu.Unlock()
	if t.fail == nil && !t.done {
		t.fail = r
		t.hall.refused = append(t.hall.refused, r.Error())
	}
}

func (t *fakeTx) Abort() {
	if !t.done {
		t.hall.mu.Lock()
		t.hall.aborted++
		t.hall.mu.Unlock()
	}
}

// fakeAuth knows alice@example.org with the password "secret".
type fakeAuth struct{ plaintext bool }

func (f fakeAuth) Mechanisms(ch *auth.Channel) []string {
	if ch.TLS == nil && !f.plaintext {
		return nil
	}
	return []string{"STEPS", "PLAIN", "LOGIN"}
}

func (f fakeAuth) Start(ch *auth.Channel, mechanism string) (auth.Exchange, error) {
	if ch.TLS == nil && !f.plaintext {
		return nil, auth.ErrPlaintext
	}
	switch mechanism {
	case "PLAIN":
		return &fakeExchange{ask: []string{""}, want: []string{"\x00alice\x00secret"}}, nil
	case "LOGIN":
		return &fakeExchange{
			ask:  []string{"Username:", "Password:"},
			want: []string{"alice", "secret"},
		}, nil
	case "STEPS": // a mechanism whose client begins and whose server ends
		return &fakeExchange{
			ask: []string{"", "server-first", "server-final"}, want: []string{"c1", "c2", ""},
		}, nil
	case "BROKEN":
		return nil, errors.New("the database is away")
	}
	return nil, auth.ErrMechanism
}

// A fakeExchange asks and compares, step by step.
type fakeExchange struct {
	ask, want []string
	step      int
}

func (e *fakeExchange) Next(response []byte) ([]byte, *auth.Identity, error) {
	if response != nil {
		if string(response) == "later" {
			return nil, nil, auth.ErrTemporary
		}
		if string(response) != e.want[e.step] {
			return nil, nil, auth.ErrCredentials
		}
		e.step++
	}
	if e.step < len(e.ask) {
		return []byte(e.ask[e.step]), nil, nil
	}
	return nil, &auth.Identity{
		Account: 1, Method: "FAKE", Address: mail.Address{Local: "alice", Domain: "example.org"},
	}, nil
}

// testTLS is a configuration with a certificate of its own, made once.
var testTLS = sync.OnceValues(func() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"mx.example.org"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}, nil
})

func mustTLS(t testing.TB) *tls.Config {
	t.Helper()
	c, err := testTLS()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// clientTLS trusts nobody's certificate and everybody.
func clientTLS(t testing.TB) *tls.Config {
	t.Helper()
	return &tls.Config{InsecureSkipVerify: true}
}
