//go:build !linux

package sqlstore

import "context"

// writeBack does nothing: only Linux can be asked.
func (s *Store) writeBack(context.Context) {}
