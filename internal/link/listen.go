package link

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Listen opens a listener for Serve at "host:port" or "unix:PATH", with a
// keep-alive that finds dead peers within five minutes. A socket file that
// nobody listens on any more is replaced; who may open it is the matter of
// its directory.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 3 * time.Minute, Interval: 30 * time.Second, Count: 4,
		}}
		lc.SetMultipathTCP(false) // costs at each connection, and no mail client uses it
		return lc.Listen(ctx, "tcp", address)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil && errors.Is(err, syscall.EADDRINUSE) && removeStale(ctx, path) {
		ln, err = lc.Listen(ctx, "unix", path)
	}
	return ln, err
}

// removeStale removes the socket file of a listener that has died.
func removeStale(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		nc.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED) && os.Remove(path) == nil
}
