package server

import (
	"context"
	"postrider/internal/datadir"
	"postrider/internal/settings"
)

// Descend does nothing: a Windows service has its user from the service
// manager.
func Descend(context.Context, *settings.Registry, *datadir.Dir) error { return nil }

// KnowsUser is not asked: nobody descends.
func KnowsUser(string) error { return nil }
