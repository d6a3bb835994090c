package field

import (
	"testing"
)

func TestBaseSubject(t *testing.T) {
	tests := []struct {
		in, want string
		reply    bool
	}{
		{"hello", "hello", false},
		{"  hello \t world ", "hello world", false},
		{"Re: hello", "hello", true},
		{"RE : hello", "hello", true},
		{"Fwd: Re: FW: hello", "hello", true},
		{"Re[2]: hello", "hello", true},
		{"Re [list] : hello", "hello", true},
		{"[list] Re: [list] hello", "hello", true},
		{"[list] hello", "hello", false},
		{"[only a blob]", "[only a blob]", false},
		{"hello (fwd) (FWD)", "hello", true},
		{"[Fwd: hello]", "hello", true},
		{"[Fwd: Re: [x] hello (fwd)]", "hello", true},
		{"Re:", "", true},
		{"", "", false},
		{"reply: hello", "reply: hello", false},
		{"re hello", "re hello", false},
		{"[a][b] hello", "hello", false},
		{"[a[b]] hello", "[a[b]] hello", false},
		{"Re: [nested [x] hello", "[nested [x] hello", true},
	}
	for _, tt := range tests {
		if got, reply := BaseSubject(tt.in); got != tt.want || reply != tt.reply {
			t.Errorf("%q: got %q %v, want %q %v", tt.in, got, reply, tt.want, tt.reply)
		}
	}
}
