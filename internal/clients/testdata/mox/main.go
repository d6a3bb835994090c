// Mox drives the SMTP client of mox, the mail server, as a test: mox NAME FILE
// runs the function NAME. The file says where the server is and who the user
// is. It exits with 1, and says why, when anything is not as it should be.
//
// It is a module of its own, so that the program does not depend on mox.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/textproto"
	"os"
	"slices"
	"strings"

	"github.com/mjl-/mox/dns"
	"github.com/mjl-/mox/sasl"
	"github.com/mjl-/mox/smtpclient"
)

type trial struct {
	User        string
	Password    string
	Letter      string
	Certificate string
	Ports       map[string]string
	Recipients  []string
	Limit       int
}

var tests = map[string]func(context.Context, *trial) error{
	"limits": limits, "refused": refused, "requiretls": requireTLS, "utf8": utf8, "scram": scram,
	"scram_pop": scramPOP,
}

func main() {
	var t trial
	where, err := os.ReadFile(os.Args[2])
	if err == nil {
		err = json.Unmarshal(where, &t)
	}
	if err == nil {
		err = tests[os.Args[1]](context.Background(), &t)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// roots are the server's own certificate.
func (t *trial) roots() (*x509.CertPool, error) {
	text, err := os.ReadFile(t.Certificate)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool, err
}

// dial begins a session; auth may be nil.
func (t *trial) dial(ctx context.Context, service string, mode smtpclient.TLSMode,
	auth func([]string, *tls.ConnectionState) (sasl.Client, error)) (*smtpclient.Client, error) {
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", t.Ports[service]))
	if err != nil {
		return nil, err
	}
	c, err := smtpclient.New(ctx, slog.New(slog.DiscardHandler), conn, mode,
		mode != smtpclient.TLSSkip, dns.Domain{ASCII: "client.example.net"},
		dns.Domain{ASCII: "localhost"}, smtpclient.Opts{Auth: auth, RootCAs: roots})
	if err != nil {
		return nil, fmt.Errorf("session on %s: %w", service, err)
	}
	return c, nil
}

// mechanism logs in with one mechanism, which the server must offer.
func (t *trial) mechanism(name string) func([]string, *tls.ConnectionState) (sasl.Client, error) {
	return func(offered []string, state *tls.ConnectionState) (sasl.Client, error) {
		switch {
		case !slices.Contains(offered, name):
			return nil, fmt.Errorf("%s is not among %q", name, offered)
		case name == "SCRAM-SHA-256-PLUS":
			return sasl.NewClientSCRAMSHA256PLUS(t.User, t.Password, *state), nil
		case name == "SCRAM-SHA-256":
			return sasl.NewClientSCRAMSHA256(t.User, t.Password, false), nil
		case name == "SCRAM-SHA-1":
			return sasl.NewClientSCRAMSHA1(t.User, t.Password, false), nil
		case name == "LOGIN":
			return sasl.NewClientLogin(t.User, t.Password), nil
		default:
			return sasl.NewClientPlain(t.User, t.Password), nil
		}
	}
}

// deliver sends the letter as the user.
func (t *trial) deliver(ctx context.Context, c *smtpclient.Client, from string, to []string,
	bits8, utf8, tls bool) error {
	replies, err := c.DeliverMultiple(ctx, from, to, int64(len(t.Letter)),
		strings.NewReader(t.Letter), bits8, utf8, tls)
	if err != nil {
		return err
	}
	for i, r := range replies {
		if r.Code != 250 || r.Secode != "1.5" {
			return fmt.Errorf("%s: got %d x.%s", to[i], r.Code, r.Secode)
		}
	}
	return nil
}

// limits sends to many recipients in transactions of as many as the server
// takes, as the queue of mox does it, and then to one too many, of which the
// last must be put off.
func limits(ctx context.Context, t *trial) error {
	c, err := t.dial(ctx, "smtp", smtpclient.TLSSkip, nil)
	if err != nil {
		return err
	}
	want := map[string]string{"RCPTMAX": fmt.Sprint(t.Limit)}
	if !maps.Equal(c.ExtLimits, want) || c.ExtLimitRcptMax != t.Limit {
		return fmt.Errorf("limits: got %v, want %v", c.ExtLimits, want)
	}
	for some := range slices.Chunk(t.Recipients, c.ExtLimitRcptMax) {
		if err := t.deliver(ctx, c, "sender@example.net", some, false, false, false); err != nil {
			return err
		}
	}
	many := t.Recipients[:t.Limit+1]
	replies, err := c.DeliverMultiple(ctx, "sender@example.net", many, int64(len(t.Letter)),
		strings.NewReader(t.Letter), false, false, false)
	if err != nil {
		return err
	}
	if r := replies[t.Limit]; r.Code != 452 || r.Secode != "5.3" || r.Permanent {
		return fmt.Errorf("one recipient too many: got %+v, want 452 4.5.3", r)
	}
	return c.Close()
}

// refused reads what enhanced status codes say.
func refused(ctx context.Context, t *trial) error {
	c, err := t.dial(ctx, "smtp", smtpclient.TLSSkip, nil)
	if err != nil {
		return err
	}
	for to, want := range map[string]string{
		"nobody@localhost": "1.1", "somebody@example.com": "7.1",
	} {
		err := t.deliver(ctx, c, "sender@example.net", []string{to}, false, false, false)
		e, ok := errors.AsType[smtpclient.Error](err)
		if !ok || e.Code != 550 || e.Secode != want || !e.Permanent {
			return fmt.Errorf("%s: got %v, want 550 5.%s", to, err, want)
		}
	}
	return c.Close()
}

// requireTLS demands TLS for the whole way, where the server offers it.
func requireTLS(ctx context.Context, t *trial) error {
	c, err := t.dial(ctx, "smtp", smtpclient.TLSSkip, nil)
	if err != nil {
		return err
	}
	if c.SupportsRequireTLS() {
		return errors.New("REQUIRETLS is offered without TLS")
	}
	if err := c.Close(); err != nil {
		return err
	}
	c, err = t.dial(ctx, "smtp", smtpclient.TLSRequiredStartTLS, nil)
	if err != nil {
		return err
	}
	err = t.deliver(ctx, c, "sender@example.net", []string{t.User}, false, false, true)
	if err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	c, err = t.dial(ctx, "submissions", smtpclient.TLSImmediate, t.mechanism("PLAIN"))
	if err != nil {
		return err
	}
	if err := t.deliver(ctx, c, t.User, []string{t.User}, false, false, true); err != nil {
		return err
	}
	return c.Close()
}

// utf8 sends a letter with UTF-8 in its header and its sender.
func utf8(ctx context.Context, t *trial) error {
	c, err := t.dial(ctx, "smtp", smtpclient.TLSRequiredStartTLS, nil)
	if err != nil {
		return err
	}
	err = t.deliver(ctx, c, "jürgen@straße.example.net", []string{t.User}, true, true, false)
	if err != nil {
		return err
	}
	return c.Close()
}

// scram logs in with every mechanism, and not with a wrong password.
func scram(ctx context.Context, t *trial) error {
	for _, name := range []string{
		"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN",
	} {
		for service, mode := range map[string]smtpclient.TLSMode{
			"submission": smtpclient.TLSRequiredStartTLS, "submissions": smtpclient.TLSImmediate,
		} {
			c, err := t.dial(ctx, service, mode, t.mechanism(name))
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := t.deliver(ctx, c, t.User, []string{t.User}, false, false, false); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := c.Close(); err != nil {
				return err
			}
		}
	}
	wrong := *t
	wrong.Password += "x"
	_, err := wrong.dial(ctx, "submissions", smtpclient.TLSImmediate,
		wrong.mechanism("SCRAM-SHA-256-PLUS"))
	if err == nil || !strings.Contains(err.Error(), "permanent: 535 5.7.8 ") {
		return fmt.Errorf("a wrong password: got %v, want 535 5.7.8", err)
	}
	return nil
}

// scramPOP logs in by POP3 with what mox has for SASL, bound to each version
// of TLS: mox itself does not fetch mail.
func scramPOP(_ context.Context, t *trial) error {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		roots, err := t.roots()
		if err != nil {
			return err
		}
		conn, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", t.Ports["pops"]),
			&tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: version,
				MaxVersion: version})
		if err != nil {
			return err
		}
		p := textproto.NewConn(conn)
		client := sasl.NewClientSCRAMSHA256PLUS(t.User, t.Password, conn.ConnectionState())
		if err := authenticate(p, client); err != nil {
			return fmt.Errorf("%s: %w", tls.VersionName(version), err)
		}
		if err := p.Close(); err != nil {
			return err
		}
	}
	return nil
}

// authenticate is AUTH of POP3 with an initial response (RFC 5034).
func authenticate(p *textproto.Conn, client sasl.Client) error {
	if _, err := p.ReadLine(); err != nil {
		return err
	}
	name, _ := client.Info()
	first, last, err := client.Next(nil)
	if err != nil {
		return err
	}
	line := "AUTH " + name + " " + base64.StdEncoding.EncodeToString(first)
	for {
		if err := p.PrintfLine("%s", line); err != nil {
			return err
		}
		reply, err := p.ReadLine()
		if err != nil {
			return err
		}
		challenge, more := strings.CutPrefix(reply, "+ ")
		if !more || last {
			if !strings.HasPrefix(reply, "+OK") || !last {
				return fmt.Errorf("%s ends with %q", name, reply)
			}
			return nil
		}
		text, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			return err
		}
		var answer []byte
		if answer, last, err = client.Next(text); err != nil {
			return err
		}
		line = base64.StdEncoding.EncodeToString(answer)
	}
}
