package server

import (
	"net"
	"os"
)

// AsService says whether a service manager, or this program itself on its
// way down from root, has started this process.
func AsService(getenv func(string) string) bool {
	for _, name := range []string{"NOTIFY_SOCKET", "INVOCATION_ID", "LISTEN_PID"} {
		if getenv(name) != "" {
			return true
		}
	}
	return false
}

// Notify tells the service manager how the server is, as sd_notify(3) does:
// "READY=1", "STOPPING=1", "RELOADING=1". Without a manager that listens it
// does nothing.
func Notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' { // an abstract socket
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	c.Write([]byte(state))
}
