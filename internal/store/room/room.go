// Package room refuses mail before the disk is full.
package room

import (
	"sync/atomic"
	"time"

	"postrider/internal/mail"
)

// maxReserve is kept free so that the database can always commit what a
// volume has taken: 64 MB, or a twentieth of a smaller disk.
const maxReserve = 64 << 20

// A Guard refuses mail before the disk is full, since after that even a
// deletion could not be written. Its methods may be called concurrently.
type Guard struct {
	dir   string
	asked atomic.Int64 // when, in nanoseconds
	room  atomic.Int64 // bytes above the reserve then, less what came since
}

// New makes the Guard of the file system that dir lies in.
func New(dir string) *Guard { return &Guard{dir: dir} }

// Check says whether so many bytes may be taken: an error of kind Full if not.
// It asks the file system once a second, or when what it last said is nearly
// used up.
func (g *Guard) Check(size int64) error {
	now := time.Now().UnixNano()
	left := g.room.Add(-size)
	if now-g.asked.Load() > int64(time.Second) || left < maxReserve {
		free, total, err := Free(g.dir)
		if err != nil {
			return nil // then the write itself will tell
		}
		left = free - min(maxReserve, total/20) - size
		g.room.Store(left)
		g.asked.Store(now)
	}
	if left < 0 {
		return mail.Errorf(mail.Full, "the disk is nearly full")
	}
	return nil
}
