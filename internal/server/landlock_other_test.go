//go:build unix && !linux

package server

func hasLandlock() bool { return false }
