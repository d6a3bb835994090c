package commit

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// writeBack has the system begin to write the log back while it grows.
// Without it a checkpoint's flush finds a hundred megabytes to write, and
// the flushes of deliveries wait behind them. It promises nothing.
func (c *Committer) writeBack(ctx context.Context) {
	path := c.cfg.Dialect.LogFile(c.cfg.Path)
	if path == "" {
		return
	}
	tick := time.NewTicker(writeBackEvery)
	defer tick.Stop()
	var log *os.File
	defer func() {
		if log != nil {
			log.Close()
		}
	}()
	seen := int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n := c.logs.writes.Load()
		if n == seen || n < fewWrites {
			seen = n
			continue
		}
		seen = n
		if log == nil {
			var err error
			if log, err = os.Open(path); err != nil {
				return
			}
		}
		unix.SyncFileRange(int(log.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
}
