package server

import (
	"context"
	"runtime/debug"
	"time"
)

// restEvery is how often the server looks whether it is at rest.
const restEvery = 20 * time.Second

// rest gives memory back to the system when the server has come to rest:
// after a busy time, the runtime would keep what it needed then.
func (s *Server) rest(ctx context.Context) {
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	idle := 0 // looks in a row that found no work
	last := s.work()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.work()
		if now != last {
			last, idle = now, 0
			continue
		}
		if idle++; idle == 1 {
			debug.FreeOSMemory()
		}
	}
}

// work counts what has been done: connections come and gone, and those that
// went on after a pause.
func (s *Server) work() uint64 {
	n := uint64(0)
	for _, d := range s.doors {
		st := d.link.Stats()
		n += st.Accepted + st.Woken + uint64(st.Open-st.Parked)
	}
	return n
}
