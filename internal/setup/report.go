package setup

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"postrider/internal/datadir"
	"postrider/internal/service"
	"postrider/internal/terminal"
)

// hidden warns of addresses that no public record may name.
func hidden(addresses []netip.Addr) []string {
	var list []string
	for _, a := range addresses {
		list = append(list, "No DNS record names "+a.String()+", because it is not a public address: "+
			"where others shall reach the server, enter the public one.")
	}
	return list
}

// dataFlag is what a command needs to find the data directory from anywhere:
// nothing in the installed place.
func dataFlag(dir, system string) string {
	if dir == "" || dir == datadir.Installed(system, os.Getenv) {
		return ""
	}
	if strings.ContainsAny(dir, " \t()&;'") {
		dir = `"` + dir + `"`
	}
	return " --data " + dir
}

// todo lists what setup cannot do itself.
func todo(r *Report, system string) []string {
	data := dataFlag(r.DataDirectory, system)
	list := []string{
		"Enter the DNS records above. The PTR records are entered by who gives you the address.",
		"Get a certificate for " + r.Host + " that others trust, and name its files: " +
			"postrider settings set tls.certificate FILE tls.key FILE" + data + ". " +
			"Until then the server shows one that it made itself.",
		"Let TCP ports 25, 587, 465, 110 and 995 through the firewall.",
		"Make the first account: postrider account add you@" + r.Domain + data,
		"Back up " + r.DataDirectory + " with its file secret.key.",
	}
	switch {
	case r.Service != nil && r.Service.Start != "":
		list = append(list, "Start the server: "+r.Service.Start)
	case r.Restart:
		list = append(list, "Start the server again, so that it listens on the new ports.")
	default:
		start := "Start the server: postrider serve" + data
		if system == "linux" || system == "freebsd" {
			start += ", as root because of the low ports"
		}
		if r.Service != nil && strings.HasPrefix(r.Service.Note, service.ErrNone.Text) {
			start += "; nothing here does so at boot."
		} else {
			start += "; or install it with \"postrider service install" + data + "\"."
		}
		list = append(list, start)
	}
	return list
}

// Print tells it in words.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "This is the server of %s now; it calls itself %s.\nIts data is in %s.\n",
		r.Domain, r.Host, r.DataDirectory)
	if len(r.Listen) > 0 {
		fmt.Fprintf(w, "It listens on %s; --address names others.\n", strings.Join(r.Listen, ", "))
	} else {
		fmt.Fprintln(w, "It listens on all addresses.")
	}
	if r.Password != "" {
		fmt.Fprintf(w, "The account %s is made, with this password, which is shown only now:\n\n"+
			"    %s\n", r.Account, r.Password)
	}
	if r.Service != nil {
		for _, line := range r.Service.Lines() {
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
