package link

// canPark says whether this system can wait for readability.
const canPark = true

// A poll is one wait for readability.
type poll struct{ waited bool }

// ready is called before the wait, which is a read of zero bytes that ends
// at once when there is input, and after it.
func (p *poll) ready(uintptr) bool {
	was := p.waited
	p.waited = true
	return was
}

// hungUp cannot tell here.
func hungUp(uintptr) bool { return false }
