package datadir

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"postrider/internal/durable"
	"postrider/internal/mail"
)

// maxSocketPath is the longest path that every system takes for a Unix
// socket: 104 bytes with the final zero on the BSDs and macOS, 108 elsewhere.
const maxSocketPath = 103

func (d *Dir) socketFile() string { return filepath.Join(d.path, "control.sock") }

func (d *Dir) addressFile() string { return filepath.Join(d.path, "control.addr") }

// Listen opens the control socket. The caller holds the lock, so what is
// left of an earlier server is removed. Closing the listener cleans up.
//
// Where the path of the directory is too long for a socket, the socket lies
// in a private temporary directory; where there is none to be had, as for a
// service that may write its own directories only, or where the system has no
// Unix sockets, a port on loopback takes its place. Both are recorded in
// control.addr, and a command must show the token in any case.
func (d *Dir) Listen() (net.Listener, error) {
	d.forget()
	path := d.socketFile()
	if len(path) <= maxSocketPath {
		ln, err := listenUnix(path)
		if err == nil {
			return ln, nil
		}
		if unixSockets {
			return nil, err
		}
	} else if unixSockets {
		if ln, err := d.listenElsewhere(); err == nil {
			return ln, nil
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return d.record(ln, "tcp "+ln.Addr().String())
}

func (d *Dir) listenElsewhere() (net.Listener, error) {
	dir, err := os.MkdirTemp("", "postrider-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "control.sock")
	ln, err := listenUnix(path)
	if err != nil {
		os.Remove(dir)
		return nil, err
	}
	return d.record(ln, "unix "+path)
}

func (d *Dir) record(ln net.Listener, addr string) (net.Listener, error) {
	if err := durable.WriteFile(d.addressFile(), 0o600, durable.Bytes([]byte(addr+"\n"))); err != nil {
		ln.Close()
		return nil, err
	}
	return &recordedListener{Listener: ln, dir: d}, nil
}

func listenUnix(path string) (net.Listener, error) {
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil && unixSockets {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// A recordedListener takes its record away when it closes.
type recordedListener struct {
	net.Listener
	dir *Dir
}

func (l *recordedListener) Close() error {
	err := l.Listener.Close()
	l.dir.forget()
	return err
}

// forget removes the socket and the record of an earlier server.
func (d *Dir) forget() {
	os.Remove(d.socketFile())
	network, addr := d.address()
	if network == "unix" && addr != d.socketFile() {
		// Only what Listen makes is removed, and os.Remove spares a
		// directory that has something else in it.
		if strings.HasPrefix(filepath.Base(filepath.Dir(addr)), "postrider-") {
			os.Remove(addr)
			os.Remove(filepath.Dir(addr))
		}
	}
	os.Remove(d.addressFile())
}

// address is where a running server listens.
func (d *Dir) address() (network, addr string) {
	data, err := os.ReadFile(d.addressFile())
	if err == nil {
		network, addr, ok := strings.Cut(strings.TrimSpace(string(data)), " ")
		if ok && (network == "unix" || network == "tcp") {
			return network, addr
		}
	}
	return "unix", d.socketFile()
}

// Dial connects to a running server. The error is of kind Unreachable when
// none listens, which may mean that it is still starting.
func (d *Dir) Dial(ctx context.Context) (net.Conn, error) {
	network, addr := d.address()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, addr)
	if err == nil {
		return conn, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, &mail.Error{Kind: mail.Denied, Err: err, Text: "not allowed to reach the server"}
	}
	return nil, &mail.Error{Kind: mail.Unreachable, Err: err, Text: "the server does not answer"}
}
