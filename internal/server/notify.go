package server

import (
	"net"
	"os"
)

// RootWarning is what to tell people if this process is root's and stays it;
// empty otherwise.
func RootWarning() string {
	if os.Geteuid() != 0 {
		return ""
	}
	return "this server runs as root and need not: make a user for it and start it with " +
		"--set server.user=NAME, which also gives that user the data directory"
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
