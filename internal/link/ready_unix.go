//go:build unix && !solaris && !aix

package link

import "syscall"

// canPark says whether this system can wait for readability.
const canPark = true

// hungUp says of a connection that is ready whether the peer has closed or
// broken it. It cannot tell while there is input before the end.
func hungUp(fd uintptr) bool {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	if err != nil {
		return err != syscall.EAGAIN && err != syscall.EINTR
	}
	return n == 0
}

// A poll is one wait for readability.
type poll struct{}

// ready is called before the wait and after each wake. It looks itself,
// since the notice of input that is there already may have been spent.
func (*poll) ready(fd uintptr) bool {
	var b [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err != syscall.EINTR {
			return err != syscall.EAGAIN
		}
	}
}
