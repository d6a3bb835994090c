package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"

	"postrider/internal/control"
	"postrider/internal/datadir"
	"postrider/internal/mail"
	"postrider/internal/service"
	"postrider/internal/settings"
	"postrider/internal/terminal"
)

// A setupReply tells what setup has done and what is still to do.
type setupReply struct {
	Domain        string        `json:"domain"`
	Host          string        `json:"host"`
	DataDirectory string        `json:"data_directory"`
	Account       string        `json:"account"`
	Password      string        `json:"password,omitempty"`
	Records       []dnsRecord   `json:"dns_records"`
	Service       *serviceReply `json:"service,omitempty"`
	Restart       bool          `json:"needs_restart"`
	Todo          []string      `json:"todo"`
}

// A dnsRecord is one that the domain needs.
type dnsRecord struct {
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

func (c *call) setup(ctx context.Context) error {
	r := &setupReply{Host: c.opt.host}
	addresses, err := c.setupAddresses()
	if err != nil {
		return err
	}
	password, err := c.password(ctx)
	if err != nil {
		return err
	}
	if err := c.checkSetup(ctx); err != nil {
		return err
	}
	dir, err := makeDir(setupPlace(datadir.Usual(c.opt.data)))
	if err != nil {
		return err
	}
	r.DataDirectory, c.opt.data = dir.Path(), dir.Path()
	if !c.opt.noService && os.Geteuid() <= 0 { // on Windows it is -1
		if r.Service, err = c.installService(ctx, dir); err != nil {
			return err
		}
	}
	err = c.with(ctx, func(s *session) error {
		return c.setupDomain(ctx, s, r, password)
	})
	if err != nil {
		return err
	}
	r.Records = records(r.Domain, r.Host, addresses)
	r.Todo = todo(r)
	return c.Answer(r, func(w io.Writer) { r.print(w) })
}

// checkSetup refuses wrong names before anything is made.
func (c *call) checkSetup(ctx context.Context) error {
	name, err := control.ParseDomain(c.line.Arg(0))
	if err != nil {
		return c.refused(err)
	}
	host := c.opt.host
	if host == "" {
		host = "mail." + name
	}
	_, err = settings.New().SetAll(ctx,
		[]settings.Assignment{{Name: "server.hostname", Value: host}})
	if mail.KindOf(err) == mail.Invalid {
		return c.usage("setup: --host %q: want the name of this server, such as mail.%s", host, name)
	}
	return nil
}

// setupPlace is where the data of a real server lies: where it lies already,
// or for root in the installed place.
func setupPlace(s datadir.Search) string {
	if s.Named() != "" || os.Geteuid() > 0 {
		return s.Place()
	}
	if _, err := datadir.Open(s.Local); err == nil {
		return s.Local
	}
	return s.Installed
}

// setupAddresses are those under which the server is reached: the ones given,
// else the public ones of this machine.
func (c *call) setupAddresses() ([]netip.Addr, error) {
	var list []netip.Addr
	for _, text := range c.opt.addresses {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, c.usage("--address %s: want an IP address", text)
		}
		list = append(list, a)
	}
	if len(list) > 0 {
		return list, nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil, nil // they are only shown
	}
	for _, n := range own {
		p, err := netip.ParsePrefix(n.String())
		if a := p.Addr(); err == nil && a.IsGlobalUnicast() && !a.IsPrivate() {
			list = append(list, a)
		}
	}
	return list, nil
}

// setupDomain makes the domain, its postmaster and the settings.
func (c *call) setupDomain(ctx context.Context, s *session, r *setupReply, password string) error {
	// What a file or flag fixes is found out before anything is changed.
	try := control.ConfigApplyRequest{Name: "setup", Content: c.setupSettings("localhost"),
		DryRun: true}
	if _, err := control.ConfigApply.Call(ctx, s, try, nil); err != nil {
		return err
	}
	d, err := control.DomainAdd.Call(ctx, s,
		control.DomainRequest{Name: c.line.Arg(0), Main: true}, nil)
	if mail.KindOf(err) == mail.Exists && err != nil {
		_, err = control.DomainMain.Call(ctx, s, control.DomainRequest{Name: c.line.Arg(0)}, nil)
		d.Name = strings.ToLower(strings.TrimSuffix(c.line.Arg(0), "."))
	}
	if err != nil {
		return err
	}
	r.Domain = d.Name
	if r.Host == "" {
		r.Host = "mail." + d.Name
	}
	q := control.ConfigApplyRequest{Name: "setup", Content: c.setupSettings(r.Host)}
	changed, err := control.ConfigApply.Call(ctx, s, q, nil)
	if err != nil {
		return err
	}
	r.Restart = changed.Running && slices.ContainsFunc(changed.Changes,
		func(ch settingsChange) bool { return ch.Restart })
	name := "Postmaster"
	add := control.AccountAddRequest{Address: "postmaster@" + d.Name, Password: password,
		AccountChange: control.AccountChange{FullName: &name}}
	a, err := control.AccountAdd.Call(ctx, s, add, nil)
	if mail.KindOf(err) == mail.Exists && err != nil {
		a, err = control.AccountPasswordReply{Address: add.Address}, nil
	}
	r.Account, r.Password = a.Address, a.Password
	return err
}

// setupSettings are those of a real server, as a settings file.
func (c *call) setupSettings(host string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[server]\nhostname = %q\n", host)
	hosts := []string{""}
	if len(c.opt.addresses) > 0 {
		hosts = c.opt.addresses
	}
	for _, s := range standardPorts {
		var list []string
		for _, host := range hosts {
			list = append(list, fmt.Sprintf("%q", net.JoinHostPort(host, s.port)))
		}
		fmt.Fprintf(&b, "\n[%s]\nlisten = [%s]\n", s.section, strings.Join(list, ", "))
	}
	return b.String()
}

// records are the DNS records that the domain needs.
func records(domain, host string, addresses []netip.Addr) []dnsRecord {
	var list []dnsRecord
	add := func(name, kind, value string) { list = append(list, dnsRecord{name, kind, value}) }
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

// todo lists what setup cannot do itself.
func todo(r *setupReply) []string {
	list := []string{
		"Enter the DNS records above. The PTR records are entered by who gives you the address.",
		"Get a certificate for " + r.Host + " that others trust, and name its files: " +
			"postrider settings set tls.certificate FILE tls.key FILE. " +
			"Until then the server shows one that it made itself.",
		"Let TCP ports 25, 587, 465, 110 and 995 through the firewall.",
		"Make the first account: postrider account add you@" + r.Domain,
		"Back up " + r.DataDirectory + " with its file secret.key.",
	}
	switch {
	case r.Service != nil && r.Service.Start != "":
		list = append(list, "Start the server: "+r.Service.Start)
	case r.Restart:
		list = append(list, "Start the server again, so that it listens on the new ports.")
	default:
		start := "Start the server: postrider serve --data " + r.DataDirectory
		if runtime.GOOS == "linux" || runtime.GOOS == "freebsd" {
			start += ", as root because of the low ports"
		}
		list = append(list, start+"; or install it with \"postrider service install\".")
	}
	return list
}

func (r *setupReply) print(w io.Writer) {
	fmt.Fprintf(w, "This is the server of %s now; it calls itself %s.\nIts data is in %s.\n",
		r.Domain, r.Host, r.DataDirectory)
	if r.Password != "" {
		fmt.Fprintf(w, "The account %s is made, with this password, which is shown only now:\n\n"+
			"    %s\n", r.Account, r.Password)
	}
	if r.Service != nil {
		for _, line := range r.Service.lines() {
			fmt.Fprintln(w, line)
		}
	}
	fmt.Fprint(w, "\nDNS records:\n\n")
	var rows [][]string
	for _, d := range r.Records {
		rows = append(rows, []string{"  " + d.Name, d.Type, d.Value})
	}
	terminal.Table(w, rows)
	fmt.Fprint(w, "\nStill to do:\n\n")
	for i, text := range r.Todo {
		text = strings.ReplaceAll(terminal.Fold(text, 76), "\n", "\n   ")
		fmt.Fprintf(w, "%d. %s\n", i+1, text)
	}
}

// manager is the service manager of this machine.
func manager() service.Manager { return service.Detect(runtime.GOOS) }
