package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// restEvery is how often the server looks whether it is at rest.
	restEvery = 20 * time.Second
	// restAllocated is how many bytes may be allocated in that time by a
	// server at rest.
	restAllocated = 2 << 20
)

// rest gives memory back to the system when the server has come to rest:
// after a busy time, the runtime would keep what it needed then.
func (s *Server) rest(ctx context.Context) {
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	last, busy := uint64(0), true // a start is busy
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := allocated()
		if now-last >= restAllocated {
			busy = true
		} else if busy {
			busy = false
			debug.FreeOSMemory()
		}
		last = now
	}
}

// allocated is how many bytes the program has allocated since its start.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
