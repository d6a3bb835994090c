//go:build !linux

package server

import "net"

// confine does nothing: this system has no Landlock.
func (s *Server) confine(net.Addr) (bool, error) { return false, nil }

// mayRead is not asked where nothing is confined.
func mayRead(string) bool { return false }
