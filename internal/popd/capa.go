package popd

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// lines is a multi-line response of lines that do not begin with a dot.
type lines []string

func (l lines) write(_ context.Context, s *session) error {
	for _, line := range l {
		if _, err := s.conn.WriteString(line + "\r\n"); err != nil {
			return err
		}
	}
	return nil
}

// capa is CAPA of RFC 2449 section 5. USER and SASL appear as far as this
// channel allows them, STLS as long as it can be used.
func (s *session) capa(context.Context, args) reply {
	cfg := &s.srv.cfg
	channel := s.channel()
	list := lines{"TOP", "UIDL"}
	if cfg.Auth.Plaintext(channel) {
		list = append(list, "USER")
	}
	if m := cfg.Auth.Mechanisms(channel); len(m) > 0 {
		list = append(list, "SASL "+strings.Join(m, " "))
	}
	if s.state == authorization && s.conn.HasTLS() && s.conn.TLS() == nil {
		list = append(list, "STLS")
	}
	limits := s.srv.limits.Load()
	delay, expire := int(limits.LoginDelay/time.Second), "NEVER"
	if days := int(limits.Expire / (24 * time.Hour)); days > 0 {
		expire = strconv.Itoa(days)
	}
	implementation := "IMPLEMENTATION Postrider"
	if cfg.Version != "" {
		implementation += "-" + cfg.Version
	}
	list = append(list,
		"PIPELINING",
		"RESP-CODES",
		"AUTH-RESP-CODE",
		"LOGIN-DELAY "+strconv.Itoa(delay),
		"EXPIRE "+expire,
		"UTF8 USER",
		"LANG",
		implementation)
	r := ok("capabilities follow")
	r.body = list
	return r
}

// utf8 is UTF8 of RFC 6856 section 2. Names and passwords may be UTF-8
// anyway, and messages are sent as they are.
func (s *session) utf8(context.Context, args) reply { return ok("UTF-8 it is") }

// lang is LANG of RFC 6856 section 3. Replies are written in English only.
func (s *session) lang(_ context.Context, a args) reply {
	if a.n == 0 {
		r := ok("languages follow")
		r.body = lines{"en English"}
		return r
	}
	// RFC 4647 section 3.4, lookup: en-GB is content with en.
	primary, _, _ := strings.Cut(strings.ToLower(string(a.words[0])), "-")
	if primary != "en" && primary != "*" {
		return fail("", "no such language")
	}
	return ok("en replies are in English")
}
