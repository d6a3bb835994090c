//go:build !windows

package main

import "context"

// asService is for Windows only.
func asService(context.Context, []string) (status int, ok bool) { return 0, false }
