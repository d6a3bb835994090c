package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
	"time"

	"postrider/internal/mail"
	"postrider/internal/store"
)

const (
	// maxKnown limits the accounts in memory, at some 150 bytes each.
	maxKnown = 1 << 16
	// maxKnownEach limits the passwords of one account: its own and those of
	// its programs.
	maxKnownEach = 8
	// evictSample is how many entries are looked at to find an old one.
	evictSample = 8
)

// A memory knows the passwords verified lately, as digests under a key that
// lives in this process only. An entry belongs to one version of one account,
// so that a change of password makes it void.
type memory struct {
	macs sync.Pool // of *keyedHash

	mu       sync.Mutex
	accounts map[mail.AccountID]*knownAccount
}

type knownAccount struct {
	version   int64
	passwords []knownPassword
}

type knownPassword struct {
	digest [sha256.Size]byte
	until  time.Time
	app    string
}

// A keyedHash is HMAC-SHA-256 with room for its input and output, so that
// digesting a password allocates nothing.
type keyedHash struct {
	mac hash.Hash
	in  []byte
	out []byte
}

func newMemory() *memory {
	key := randomBytes(32)
	m := &memory{accounts: make(map[mail.AccountID]*knownAccount)}
	m.macs.New = func() any {
		return &keyedHash{
			mac: hmac.New(sha256.New, key),
			in:  make([]byte, 0, 16+MaxPasswordBytes),
			out: make([]byte, 0, sha256.Size),
		}
	}
	return m
}

func (m *memory) digest(account *store.Account, password string) (d [sha256.Size]byte) {
	k := m.macs.Get().(*keyedHash)
	k.in = binary.BigEndian.AppendUint64(k.in[:0], uint64(account.ID))
	k.in = binary.BigEndian.AppendUint64(k.in, uint64(account.Version))
	k.in = append(k.in, password...)
	k.mac.Reset()
	k.mac.Write(k.in)
	k.out = k.mac.Sum(k.out[:0])
	copy(d[:], k.out)
	clear(k.in)
	m.macs.Put(k)
	return d
}

// check says whether the digest was remembered, and for which app password.
// Being used keeps an entry.
func (m *memory) check(
	account *store.Account, digest *[sha256.Size]byte, now time.Time, keep time.Duration,
) (app string, ok bool) {
	if keep <= 0 {
		return "", false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.accounts[account.ID]
	if k == nil || k.version != account.Version {
		return "", false
	}
	for i := range k.passwords {
		p := &k.passwords[i]
		if now.Before(p.until) && hmac.Equal(p.digest[:], digest[:]) {
			p.until = now.Add(keep)
			return p.app, true
		}
	}
	return "", false
}

// remember keeps a digest that was verified.
func (m *memory) remember(
	account *store.Account, digest *[sha256.Size]byte, app string, now time.Time,
	keep time.Duration,
) {
	if keep <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.accounts[account.ID]
	if k != nil && k.version > account.Version {
		return // verified against what has changed meanwhile
	}
	if k == nil {
		if len(m.accounts) >= maxKnown {
			m.evict(now)
		}
		k = &knownAccount{}
		m.accounts[account.ID] = k
	}
	if k.version != account.Version {
		k.version, k.passwords = account.Version, nil
	}
	k.put(knownPassword{*digest, now.Add(keep), app}, now)
}

// put adds a password in the place of its older self, of one that has
// expired, or when there are too many of the one unused for longest.
func (k *knownAccount) put(p knownPassword, now time.Time) {
	oldest := 0
	for i := range k.passwords {
		old := &k.passwords[i]
		if old.digest == p.digest || !now.Before(old.until) {
			*old = p
			return
		}
		if old.until.Before(k.passwords[oldest].until) {
			oldest = i
		}
	}
	if len(k.passwords) < maxKnownEach {
		k.passwords = append(k.passwords, p)
		return
	}
	k.passwords[oldest] = p
}

// evict drops the least lately used of a few accounts. The map's order is
// random, so that no walk through all of them is needed.
func (m *memory) evict(now time.Time) {
	var victim mail.AccountID
	var earliest time.Time
	seen := 0
	for id, k := range m.accounts {
		last := time.Time{}
		for i := range k.passwords {
			if k.passwords[i].until.After(last) {
				last = k.passwords[i].until
			}
		}
		if seen == 0 || last.Before(earliest) {
			victim, earliest = id, last
		}
		seen++
		if seen >= evictSample || last.Before(now) {
			break
		}
	}
	delete(m.accounts, victim)
}

func (m *memory) forget(id mail.AccountID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.accounts, id)
}
