//go:build !windows

package main

import (
	"context"
	"os"
)

// asService is for Windows only.
func asService(context.Context, []string) (status int, ok bool) { return 0, false }

// underManager says whether a service manager has started this process:
// systemd says so, and the others are the first process themselves.
func underManager() bool { return os.Getenv("NOTIFY_SOCKET") != "" || os.Getppid() == 1 }
