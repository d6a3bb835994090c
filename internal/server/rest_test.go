package server

import (
	"context"
	"testing"
	"testing/synctest"
)

// The watcher ends with the server, and does its work in between.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*restEvery)
		defer cancel()
		new(Server).rest(ctx)
	})
	if allocated() == 0 {
		t.Error("nothing was ever allocated")
	}
}
