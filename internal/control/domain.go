package control

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"postrider/internal/auth"
	"postrider/internal/mail"
	"postrider/internal/settings"
	"postrider/internal/store"
)

// A DomainInfo is a domain as people see it.
type DomainInfo struct {
	Name    string    `json:"name"`
	Main    bool      `json:"main"`
	Created time.Time `json:"created"`
}

// A DomainRequest names a domain.
type DomainRequest struct {
	Name string `json:"name"`
	// Main makes a new domain the main one; the first one is main anyway.
	Main bool `json:"main,omitempty"`
}

func (c *Control) domainAdd(ctx context.Context, q DomainRequest) (DomainInfo, error) {
	var none DomainInfo
	name, err := ParseDomain(q.Name)
	if err != nil {
		return none, err
	}
	c.write.Lock()
	defer c.write.Unlock()
	domains, err := c.store.Domains(ctx)
	if err != nil {
		return none, err
	}
	if slices.ContainsFunc(domains, func(d store.Domain) bool { return d.Name == name }) {
		return none, mail.Errorf(mail.Exists, "the domain "+name+" exists already")
	}
	d := store.Domain{Name: name, Main: len(domains) == 0, Created: c.now()}
	if err := c.store.AddDomain(ctx, d); err != nil {
		return none, err
	}
	if q.Main && !d.Main {
		d.Main = true
		if err := c.store.SetMainDomain(ctx, name); err != nil {
			return none, err
		}
	}
	return DomainInfo(d), nil
}

// DomainListReply lists the domains by name.
type DomainListReply struct {
	Domains []DomainInfo `json:"domains"`
}

func (c *Control) domainList(ctx context.Context, _ None) (DomainListReply, error) {
	domains, err := c.store.Domains(ctx)
	r := DomainListReply{Domains: make([]DomainInfo, 0, len(domains))}
	for _, d := range domains {
		r.Domains = append(r.Domains, DomainInfo(d))
	}
	slices.SortFunc(r.Domains, func(a, b DomainInfo) int { return strings.Compare(a.Name, b.Name) })
	return r, err
}

func (c *Control) domainMain(ctx context.Context, q DomainRequest) (None, error) {
	name, err := c.ownDomain(ctx, q.Name)
	if err != nil {
		return None{}, err
	}
	return None{}, c.store.SetMainDomain(ctx, name)
}

func (c *Control) domainRemove(ctx context.Context, q DomainRequest) (None, error) {
	name, err := c.ownDomain(ctx, q.Name)
	if err != nil {
		return None{}, err
	}
	c.write.Lock()
	defer c.write.Unlock()
	domains, err := c.store.Domains(ctx)
	if err != nil {
		return None{}, err
	}
	for _, d := range domains {
		if d.Name == name && d.Main && len(domains) > 1 {
			return None{}, mail.Errorf(mail.Conflict, name+" is the main domain: make another "+
				"the main one first")
		}
	}
	return None{}, c.store.RemoveDomain(ctx, name)
}

// ownDomain gives the stored form of a domain that is served here.
func (c *Control) ownDomain(ctx context.Context, s string) (string, error) {
	name, err := ParseDomain(s)
	if err != nil {
		return "", err
	}
	local, err := c.store.IsLocal(ctx, name)
	if err != nil {
		return "", err
	}
	if !local {
		return "", mail.Errorf(mail.NotFound, "there is no domain "+name+" here")
	}
	return name, nil
}

// maxShown is how many bytes of what somebody has written errors repeat.
const maxShown = 100

// Short cuts a text that errors repeat to 100 bytes.
func Short(s string) string {
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for cut > maxShown-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// ParseDomain gives the ASCII form of a domain name, in lower case. Invalid
// says what is wrong with it.
func ParseDomain(s string) (string, error) {
	bad := func(why string) (string, error) {
		return "", mail.Errorf(mail.Invalid, fmt.Sprintf("%q is no domain name: %s", Short(s), why))
	}
	name := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), ".")
	if name == "" {
		return bad("it is empty")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return bad("it is an IP address")
	}
	if len(name) > maxDomain {
		return bad("it is longer than 253 characters")
	}
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil && strings.Contains(name, "xn--") {
		return bad("a part that begins with xn-- stands for no name (RFC 5891)")
	}
	if err != nil {
		return bad("it has characters that no domain can have")
	}
	if len(ascii) > maxDomain {
		return bad("it is longer than 253 characters")
	}
	for label := range strings.SplitSeq(ascii, ".") {
		switch {
		case label == "":
			return bad("it has an empty part")
		case len(label) > 63:
			return bad("a part is longer than 63 characters")
		case label[0] == '-' || label[len(label)-1] == '-':
			return bad("a part begins or ends with a hyphen")
		}
	}
	return ascii, nil
}

// RFC 1035 section 2.3.4: 63 octets a label, 253 characters as a whole. RFC
// 5321 section 4.5.3.1.1: 64 octets before the @.
const (
	maxDomain = 253
	maxLocal  = 64
)

// parseAddress understands an address as people write it; a bare local part
// means the main domain.
func (c *Control) parseAddress(ctx context.Context, s string) (mail.Address, error) {
	s = strings.TrimSpace(s)
	local, domain := s, ""
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		local, domain = s[:at], s[at+1:]
		name, err := ParseDomain(domain)
		if err != nil {
			return mail.Address{}, err
		}
		domain = name
	}
	if local == "" {
		return mail.Address{}, mail.Errorf(mail.Invalid,
			fmt.Sprintf("%q is no address: it has nothing before the @", Short(s)))
	}
	if len(local) > maxLocal {
		return mail.Address{}, mail.Errorf(mail.Invalid, fmt.Sprintf("%q is no address: what stands "+
			"before the @ is longer than %d bytes", Short(s), maxLocal))
	}
	if domain == "" {
		main, err := c.store.MainDomain(ctx)
		if err != nil || main == "" {
			return mail.Address{}, &mail.Error{Kind: mail.NotFound, Err: err,
				Text: "there is no main domain yet: write the whole address, or use \"domain add\""}
		}
		domain = main
	}
	return mail.Address{Local: strings.ToLower(local), Domain: domain}, nil
}

// newAddress is parseAddress for an account that is to be made.
func (c *Control) newAddress(ctx context.Context, s string) (mail.Address, error) {
	addr, err := c.parseAddress(ctx, s)
	if err != nil {
		return addr, err
	}
	if err := auth.CheckName(addr.Local, c.names()); err != nil {
		return addr, err
	}
	local, err := c.store.IsLocal(ctx, addr.Domain)
	if err != nil {
		return addr, err
	}
	if !local {
		return addr, mail.Errorf(mail.NotFound, "there is no domain "+addr.Domain+
			" here; \"domain add "+addr.Domain+"\" makes it")
	}
	return addr, nil
}

// names is the policy for new names.
func (c *Control) names() auth.Names {
	return auth.Names{AllowDots: c.settings.Current().Bool(settings.NamesAllowDots)}
}

// account finds the account of an address.
func (c *Control) account(ctx context.Context, s string) (*store.Account, error) {
	addr, err := c.parseAddress(ctx, s)
	if err != nil {
		return nil, err
	}
	a, err := c.store.Account(ctx, addr)
	if mail.KindOf(err) == mail.NotFound && err != nil {
		return nil, mail.Errorf(mail.NotFound, "there is no account "+addr.String())
	}
	return a, err
}

// parseNotify understands how an account wants to be told of new mail.
func parseNotify(s string) (string, error) {
	switch s {
	case "", "none":
		return "none", nil
	case "last-ip":
		return s, nil
	}
	if ip, err := netip.ParseAddr(strings.TrimPrefix(s, "ip:")); err == nil {
		return "ip:" + ip.String(), nil
	}
	return "", mail.Errorf(mail.Invalid,
		fmt.Sprintf("notify %q: want none, last-ip or ip:ADDRESS", Short(s)))
}
