package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"postrider/internal/link"
	"postrider/internal/mail"
)

// firstInherited is the first file descriptor that systemd passes
// (sd_listen_fds(3)). What this program passes to itself begins higher, at
// the number in firstVariable: there the runtime has nothing of its own that
// would have to be overwritten.
const (
	firstInherited = 3
	firstVariable  = "LISTEN_FDS_FIRST"
)

// An inheritance is what was passed by socket activation, by systemd or by
// this program itself before it gave up its privileges.
type inheritance struct {
	byName map[string][]net.Listener
	byAddr map[string]net.Listener
	unused map[net.Listener]bool
}

// inherit takes the passed sockets. Their names are those of the services,
// "smtp" or "pop"; one without such a name serves the service that is
// configured for its address.
func inherit(getenv func(string) string) (*inheritance, error) {
	in := &inheritance{byName: map[string][]net.Listener{}, byAddr: map[string]net.Listener{},
		unused: map[net.Listener]bool{}}
	pid, _ := strconv.Atoi(getenv("LISTEN_PID"))
	n, _ := strconv.Atoi(getenv("LISTEN_FDS"))
	if pid != os.Getpid() || n <= 0 {
		return in, nil
	}
	first := firstInherited
	if own, err := strconv.Atoi(getenv(firstVariable)); err == nil && own > first {
		first = own
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	for i := range n {
		f := os.NewFile(uintptr(first+i), fmt.Sprint("socket ", i))
		ln, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("inherited socket %d: %w", i, err)
		}
		if i < len(names) && names[i] != "" && names[i] != "unknown" {
			in.byName[names[i]] = append(in.byName[names[i]], ln)
		}
		in.byAddr[addressOf(ln.Addr())] = ln
		in.unused[ln] = true
	}
	return in, nil
}

// close closes what no service has taken, and tells the addresses.
func (in *inheritance) close() (unused []string) {
	for ln := range in.unused {
		unused = append(unused, addressOf(ln.Addr()))
		ln.Close()
	}
	return unused
}

func addressOf(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// passed is the socket that was passed for an address, nil if none was. All
// addresses of the machine are called otherwise by a socket itself.
func (in *inheritance) passed(address string) net.Listener {
	names := []string{address}
	if strings.HasPrefix(address, ":") {
		names = []string{"[::]" + address, "0.0.0.0" + address}
	}
	for _, name := range names {
		if ln := in.byAddr[name]; ln != nil {
			return ln
		}
	}
	return nil
}

// listen opens the addresses of a service, or takes what was passed for it.
func (in *inheritance) listen(ctx context.Context, service string, addresses []string) (
	[]net.Listener, error) {
	if passed := in.byName[service]; len(passed) > 0 {
		for _, ln := range passed {
			delete(in.unused, ln)
		}
		return passed, nil
	}
	var all []net.Listener
	for _, a := range addresses {
		ln := in.passed(a)
		if ln == nil {
			var err error
			if ln, err = link.Listen(ctx, a); err != nil {
				for _, l := range all {
					l.Close()
				}
				return nil, &mail.Error{Kind: mail.Internal, Err: err,
					Text: fmt.Sprintf("cannot listen on %s for %s", a, service)}
			}
		}
		delete(in.unused, ln)
		all = append(all, ln)
	}
	return all, nil
}
