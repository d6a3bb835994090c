// Package setup turns a data directory into that of a real mail server, and
// tells what only people can do.
//
// # What it does
//
// A Plan names the domain, the server's own name and the addresses under which
// it is reached. Apply makes the domain the main one, sets the name and the
// standard ports, and makes the account postmaster. It does so through the
// operations of package control, in a running server or without one. What a
// settings file or a flag of the server fixes is found out before anything is
// changed; each step is then done whole. Applying the same or another plan again
// is no mistake: what is there stays, and an account keeps its password.
//
// # What it tells
//
// The Report lists the DNS records that the domain needs, and what is still to
// do, in an order in which it can be done.
//
// # The service
//
// InstallService has the machine start the server at boot, as a user of its own
// who owns the data directory. A Plan takes what it gives, so that the report
// says how to start the server.
package setup

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/mail"
	"postrider/internal/settings"
)

// A Plan says what the server is to be.
type Plan struct {
	Domain string
	Host   string // its own name; empty: mail.DOMAIN
	// Listen are the IP addresses on which it listens; empty: on all, or where
	// an earlier setup said.
	Listen []string
	// Reached are those under which others reach it, for its DNS records.
	Reached []netip.Addr
	// Password is that of postmaster; empty: one is made.
	Password string
	Data     string   // the data directory
	Service  *Service // nil if none was asked for

	hosts []string // Listen, or what an earlier setup said; empty: all
}

// A Report tells what was done and what is still to do.
type Report struct {
	Domain        string   `json:"domain"`
	Host          string   `json:"host"`
	DataDirectory string   `json:"data_directory"`
	Account       string   `json:"account"`
	Password      string   `json:"password,omitempty"` // if it was made here
	Listen        []string `json:"listen"`             // addresses; empty: all
	Records       []Record `json:"dns_records"`
	Service       *Service `json:"service,omitempty"`
	Restart       bool     `json:"needs_restart"` // of a running server
	Todo          []string `json:"todo"`
}

// A Record is a DNS record that the domain needs.
type Record struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// The services that a server of a domain offers, with their standard ports.
var standardPorts = []struct {
	section string
	port    string
	srv     string // RFC 6186, RFC 8314 section 5.1; empty if it has no SRV record
}{
	{"smtp", "25", ""},
	{"submission", "587", "_submission"},
	{"submissions", "465", "_submissions"},
	{"pop", "110", "_pop3"},
	{"pops", "995", "_pop3s"},
}

// Place is where the data of a real server lies: where it lies already, or
// for root in the installed place.
func Place(s datadir.Search) string {
	if s.Named() != "" || os.Geteuid() > 0 {
		return s.Place()
	}
	if _, err := datadir.Open(s.Local); err == nil {
		return s.Local
	}
	return s.Installed
}

// PublicAddresses are those of this machine that others may reach. They are
// only proposed: where they cannot be had there are none.
func PublicAddresses() []netip.Addr {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var list []netip.Addr
	for _, n := range own {
		p, err := netip.ParsePrefix(n.String())
		if a := p.Addr(); err == nil && a.IsGlobalUnicast() && !a.IsPrivate() {
			list = append(list, a)
		}
	}
	return list
}

// divide tells addresses that belong into public records from the others.
func divide(list []netip.Addr) (public, others []netip.Addr) {
	for _, a := range list {
		if a = a.Unmap(); a.IsGlobalUnicast() && !a.IsPrivate() {
			public = append(public, a)
		} else {
			others = append(others, a)
		}
	}
	return public, others
}

// HostName gives the server's own name: host, or that of a mail server of
// domain. Kind Invalid says that it is no name of a host.
func HostName(ctx context.Context, domain, host string) (string, error) {
	if host == "" {
		host = "mail." + domain
	}
	_, err := settings.New().SetAll(ctx,
		[]settings.Assignment{{Name: "server.hostname", Value: host}})
	if mail.KindOf(err) != mail.Invalid {
		err = nil // a right value gets as far as the database, which is not there
	}
	return host, err
}

// Apply carries out the plan. Kind Invalid says that a name is wrong, and
// Conflict that a setting is fixed elsewhere; nothing is changed then.
func (p *Plan) Apply(ctx context.Context, via control.Caller) (*Report, error) {
	if err := p.findAddresses(ctx, via); err != nil {
		return nil, err
	}
	if _, err := p.set(ctx, via, "localhost", true); err != nil {
		return nil, err
	}
	domain, err := p.mainDomain(ctx, via)
	if err != nil {
		return nil, err
	}
	r := &Report{Domain: domain, Host: p.Host, DataDirectory: p.Data, Service: p.Service}
	if r.Host == "" {
		r.Host = "mail." + domain
	}
	changed, err := p.set(ctx, via, r.Host, false)
	if err != nil {
		return nil, err
	}
	r.Restart = changed.Running && slices.ContainsFunc(changed.Changes,
		func(ch settings.Change) bool { return ch.Restart })
	if err := p.postmaster(ctx, via, r); err != nil {
		return nil, err
	}
	if r.Listen = p.hosts; slices.Equal(r.Listen, []string{""}) || r.Listen == nil {
		r.Listen = []string{}
	}
	public, others := divide(p.Reached)
	r.Records = records(r.Domain, r.Host, public)
	r.Todo = append(hidden(others), todo(r, runtime.GOOS)...)
	return r, nil
}

// mainDomain makes the domain the main one, new or not, and gives its name.
func (p *Plan) mainDomain(ctx context.Context, via control.Caller) (string, error) {
	q := control.DomainRequest{Name: p.Domain, Main: true}
	d, err := control.DomainAdd.Call(ctx, via, q, nil)
	if mail.KindOf(err) == mail.Exists && err != nil {
		q.Main = false
		_, err = control.DomainMain.Call(ctx, via, q, nil)
		d.Name = strings.ToLower(strings.TrimSuffix(p.Domain, "."))
	}
	return d.Name, err
}

// postmaster makes the account that every domain must have (RFC 5321 section
// 4.5.1), unless it is there.
func (p *Plan) postmaster(ctx context.Context, via control.Caller, r *Report) error {
	name := "Postmaster"
	q := control.AccountAddRequest{Address: "postmaster@" + r.Domain, Password: p.Password,
		AccountChange: control.AccountChange{FullName: &name}}
	a, err := control.AccountAdd.Call(ctx, via, q, nil)
	if mail.KindOf(err) == mail.Exists && err != nil {
		a, err = control.AccountPasswordReply{Address: q.Address}, nil
	}
	r.Account, r.Password = a.Address, a.Password
	return err
}

// quoted are addresses as items of a TOML array.
func quoted(addresses []netip.Addr) string {
	var list []string
	for _, a := range addresses {
		list = append(list, fmt.Sprintf("%q", a))
	}
	return strings.Join(list, ", ")
}

// findAddresses takes the addresses of an earlier setup, if this one has none:
// it may only be meant to change the server's name. They are known by the
// ports.
func (p *Plan) findAddresses(ctx context.Context, via control.Caller) error {
	if p.hosts = p.Listen; len(p.Listen) > 0 {
		return nil
	}
	var found []string
	for i, s := range standardPorts {
		q := control.SettingRequest{Key: s.section + ".listen"}
		r, err := control.SettingsList.Call(ctx, via, q, nil)
		if err != nil {
			return err
		}
		hosts := hostsOf(r.Settings[0].Value, s.port)
		if i > 0 && !slices.Equal(hosts, found) {
			return nil
		}
		found = hosts
	}
	p.hosts = found
	reached := make([]netip.Addr, 0, len(found))
	for _, host := range found {
		a, err := netip.ParseAddr(host)
		if err != nil || a.IsUnspecified() || a.IsLoopback() {
			return nil
		}
		reached = append(reached, a)
	}
	if len(reached) > 0 {
		p.Reached = reached
	}
	return nil
}

// hostsOf are those of listen addresses that all have one port, or nil.
func hostsOf(list, port string) []string {
	var hosts []string
	for item := range strings.SplitSeq(list, ", ") {
		host, at, err := net.SplitHostPort(item)
		if err != nil || at != port {
			return nil
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// placeOfSetting is what an error of config.apply has before the key: a line
// of a file that nobody has.
var placeOfSetting = regexp.MustCompile(`(?m)^setup:\d+: `)

// set sets what a real server needs.
func (p *Plan) set(ctx context.Context, via control.Caller, host string, dry bool) (
	control.SettingsReply, error) {
	q := control.ConfigApplyRequest{Name: "setup", Content: p.settings(host), DryRun: dry}
	r, err := control.ConfigApply.Call(ctx, via, q, nil)
	if err != nil {
		err = mail.Errorf(mail.KindOf(err), placeOfSetting.ReplaceAllString(err.Error(), ""))
	}
	return r, err
}

// settings are those of a real server, as a settings file.
func (p *Plan) settings(host string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[server]\nhostname = %q\n", host)
	hosts := p.hosts
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	for _, s := range standardPorts {
		var list []string
		for _, host := range hosts {
			list = append(list, fmt.Sprintf("%q", net.JoinHostPort(host, s.port)))
		}
		fmt.Fprintf(&b, "\n[%s]\nlisten = [%s]\n", s.section, strings.Join(list, ", "))
		if s.section == "smtp" && len(p.Listen) > 0 && len(p.Reached) > 0 {
			fmt.Fprintf(&b, "own_addresses = [%s]\n", quoted(p.Reached))
		}
	}
	return b.String()
}

// records are the DNS records that the domain needs.
func records(domain, host string, addresses []netip.Addr) []Record {
	var list []Record
	add := func(name, kind, value string) { list = append(list, Record{name, kind, value}) }
	for _, a := range addresses {
		if a.Is4() {
			add(host+".", "A", a.String())
		} else {
			add(host+".", "AAAA", a.String())
		}
	}
	if len(addresses) == 0 {
		add(host+".", "A", "the public address of this machine")
	}
	add(domain+".", "MX", "10 "+host+".")
	add(domain+".", "TXT", `"v=spf1 mx -all"`)
	add("_dmarc."+domain+".", "TXT", `"v=DMARC1; p=none; rua=mailto:postmaster@`+domain+`"`)
	for _, s := range standardPorts {
		if s.srv != "" {
			add(s.srv+"._tcp."+domain+".", "SRV", "0 1 "+s.port+" "+host+".")
		}
	}
	for _, a := range addresses {
		add(reverseName(a), "PTR", host+".")
	}
	return list
}

// reverseName is the name of an address in the reverse zones (RFC 1035
// section 3.5, RFC 3596 section 2.5).
func reverseName(a netip.Addr) string {
	var b strings.Builder
	bytes := a.Unmap().AsSlice()
	for _, octet := range slices.Backward(bytes) {
		if len(bytes) == 4 {
			fmt.Fprintf(&b, "%d.", octet)
		} else {
			fmt.Fprintf(&b, "%x.%x.", octet&15, octet>>4)
		}
	}
	if len(bytes) == 4 {
		return b.String() + "in-addr.arpa."
	}
	return b.String() + "ip6.arpa."
}
