package server

import (
	"net"
	"strconv"
	"testing"
)

// A socket without a name is found by its address, also where that means all
// addresses of the machine.
func TestPassedSockets(t *testing.T) {
	for _, address := range []string{":0", "127.0.0.1:0"} {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		host, _, _ := net.SplitHostPort(address)
		wanted := host + ":" + strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
		in := &inheritance{byAddr: map[string]net.Listener{addressOf(ln.Addr()): ln},
			unused: map[net.Listener]bool{ln: true}}
		got, err := in.listen(t.Context(), "smtp", []string{wanted})
		if err != nil || len(got) != 1 || got[0] != ln || len(in.unused) != 0 {
			t.Errorf("%s: got %v, %v, unused %v", wanted, got, err, in.unused)
		}
	}
}
