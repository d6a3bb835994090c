//go:build !windows && (!unix || solaris || aix)

package link

// canPark says whether this system can wait for readability.
const canPark = false

type poll struct{}

func (*poll) ready(uintptr) bool { return true }

// hungUp cannot tell here.
func hungUp(uintptr) bool { return false }
