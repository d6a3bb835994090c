package server

import (
	"time"

	"postrider/internal/journal"
)

// LogLevels implements control.Host.
func (s *Server) LogLevels() []journal.ComponentLevel { return s.journal.Levels() }

// SetLogLevel implements control.Host.
func (s *Server) SetLogLevel(component string, level int, until time.Time) error {
	return s.journal.Set(component, level, until)
}
