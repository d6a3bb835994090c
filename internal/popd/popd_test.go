package popd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postrider/internal/auth"
	"postrider/internal/golden"
	"postrider/internal/link"
	"postrider/internal/mail"
)

// A clock stands still until it is told.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// A rig is a server with all that it works with.
type rig struct {
	t        testing.TB
	clock    *clock
	store    *fakeStore
	auth     *fakeAuth
	composer *fakeComposer
	server   *Server
	links    *link.Server
	address  string
}

// options are what a rig is made of.
type options struct {
	config Config
	limits link.Limits
	tls    *tls.Config
}

func defaults() options {
	return options{
		config: Config{Host: "mail.example.org", Patience: -1},
		limits: link.Limits{
			Line: MaxLine, LineTime: time.Minute, ReadTime: time.Minute,
			WriteTime: time.Minute, Handshake: time.Minute,
		},
	}
}

func newRig(t testing.TB) *rig {
	c := &clock{t: time.Unix(1_800_000_000, 0)}
	st := newFakeStore(c.now)
	return &rig{
		t: t, clock: c, store: st,
		auth:     &fakeAuth{store: st, passwords: map[string]string{}, clear: true},
		composer: &fakeComposer{store: st},
	}
}

func (r *rig) start(o options) {
	o.config.Store, o.config.Auth, o.config.Now = r.store, r.auth, r.clock.now
	r.server = New(o.config)
	r.links = link.New(link.Config{
		Name: "pop", Handler: r.server, Refuse: r.server.Refuse,
		Limits: func() link.Limits { return o.limits },
		TLS:    func() *tls.Config { return o.tls },
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.address = l.Addr().String()
	var serving sync.WaitGroup
	ctx := r.t.Context()
	serving.Go(func() { _ = r.links.Serve(ctx, l) })
	r.t.Cleanup(func() {
		l.Close()
		serving.Wait()
		_ = r.links.Shutdown(ctx)
	})
}

func (r *rig) addUser(address, password string) {
	r.store.add(address)
	r.auth.passwords[address] = password
}

// fails lets a method of the store fail.
func (r *rig) fails(method, kind string) error {
	kinds := map[string]error{
		"disk": errors.New("disk trouble at /secret/place"),
		"temp": mail.Errorf(mail.Temporary, "busy"),
		"lock": mail.Errorf(mail.Locked, "in use by another session"),
		"torn": mail.Errorf(mail.Damaged, "checksum"),
		"none": nil,
	}
	err, ok := kinds[kind]
	if !ok {
		return fmt.Errorf("no failure %s", kind)
	}
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	r.store.fails[method] = err
	return nil
}

// do is what transcripts may change while they run.
func (r *rig) do(w []string) error {
	switch w[0] {
	case "deliver":
		return r.store.deliver(w[1], w[2])
	case "fail":
		return r.fails(w[1], w[2])
	case "advance":
		d, err := time.ParseDuration(w[1])
		r.clock.advance(d)
		return err
	case "change", "remove":
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		if w[0] == "remove" {
			delete(r.store.accounts, w[1])
			return nil
		}
		r.store.accounts[w[1]].Version++
		return nil
	case "expunge":
		r.store.mu.Lock()
		id := r.store.accounts[w[1]].ID
		r.store.mu.Unlock()
		uid, err := strconv.Atoi(w[2])
		return errors.Join(err, r.store.Expunge(r.t.Context(), id, 1, []mail.UID{mail.UID(uid)}))
	case "damage":
		uid, err := strconv.Atoi(w[2])
		return errors.Join(err, r.store.damage(w[1], mail.UID(uid)))
	case "steal":
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		for name := range r.store.leases {
			r.store.leases[name] = fakeLease{"thief", r.clock.now().Add(time.Hour)}
		}
		return nil
	case "aborted":
		<-r.composer.aborted
		return nil
	case "shutdown":
		return r.links.Shutdown(r.t.Context())
	}
	return fmt.Errorf("cannot %s", w[0])
}

// set reads one setup line.
func (r *rig) set(o *options, v golden.Setting) error {
	w, err := v.Words()
	if err != nil {
		return err
	}
	number, duration := 0, time.Duration(0)
	if len(w) == 1 {
		number, _ = strconv.Atoi(w[0])
		duration, _ = time.ParseDuration(w[0])
	}
	switch v.Key {
	case "user":
		r.addUser(w[0], w[1])
	case "message":
		return r.store.deliver(w[0], w[1])
	case "messages": // ADDRESS COUNT TEXT
		n, err := strconv.Atoi(w[1])
		for i := range n {
			err = errors.Join(err, r.store.deliver(w[0], fmt.Sprintf(w[2], i+1)))
		}
		return err
	case "large": // ADDRESS COUNT LINE, one message of so many lines
		n, err := strconv.Atoi(w[1])
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, w[2], i+1)
		}
		return errors.Join(err, r.store.deliver(w[0], text.String()))
	case "tls":
		o.tls = &tls.Config{Certificates: []tls.Certificate{certificate(r.t)}}
	case "cleartext":
		r.auth.clear = w[0] == "yes"
	case "noapop":
		o.config.NoAPOP = true
	case "nocomposer":
		o.config.Composer = nil
	case "noxmit":
		o.config.Limits.NoXMIT = true
	case "expire":
		o.config.Limits.Expire = duration
	case "sessions":
		o.limits.Sessions = number
	case "peraddress":
		o.limits.PerAddress = number
	case "version":
		o.config.Version = w[0]
	case "badcommands":
		o.config.Limits.BadCommands = number
	case "failedlogins":
		o.config.Limits.FailedLogins = number
	case "logindelay":
		o.config.Limits.LoginDelay = duration
	case "linetime":
		o.limits.LineTime = duration
	case "readtime":
		o.limits.ReadTime = duration
	case "autherror":
		r.auth.err = map[string]error{
			"temporary": auth.ErrTemporary, "toomany": auth.ErrTooMany,
			"plaintext": auth.ErrPlaintext, "apop": auth.ErrNeedsAPOP,
			"disk": errors.New("disk trouble"),
		}[w[0]]
	case "xmitlimit":
		r.composer.limit = number
	case "xmiterror":
		r.composer.err = mail.NewReply(451, "4.3.0", w[0])
	case "fail":
		return r.fails(w[0], w[1])
	default:
		return fmt.Errorf("unknown setup key %s", v.Key)
	}
	return nil
}

func TestTranscripts(t *testing.T) {
	golden.Run(t, "testdata/*.txt", func(t *testing.T, s golden.Setup) golden.Server {
		r := newRig(t)
		r.composer.aborted = make(chan struct{}, 10)
		o := defaults()
		o.config.Composer = r.composer
		for _, v := range s {
			if err := r.set(&o, v); err != nil {
				t.Fatalf("line %d: %v", v.Line, err)
			}
		}
		r.start(o)
		return golden.Server{Address: r.address, Do: r.do}
	})
}

func certificate(t testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
