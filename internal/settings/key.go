package settings

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Type says what the value of a key is and how it is written.
type Type uint8

// The types. Lists are written with commas, in TOML as arrays.
const (
	Bool      Type = iota // true or false; yes, no, on and off are understood
	Int                   // a whole number
	Size                  // bytes, "64M"; units are powers of 1024
	Duration              // "5m", "1h30m", "30d"
	String                // any text of one line
	Enum                  // one of Choices
	Addresses             // listen addresses, host:port or unix:PATH
	Prefixes              // networks, "192.0.2.0/24"; a bare address is that host
	Strings               // a list of texts without commas
	Secret                // a text that is never shown, sealed in the database
)

// String names the type as the reference manual does.
func (t Type) String() string {
	return [...]string{"yes or no", "number", "size", "duration", "text", "choice",
		"list of addresses", "list of networks", "list", "secret"}[t]
}

func (t Type) isList() bool { return t == Addresses || t == Prefixes || t == Strings }

// A Scope says whether all nodes of a cluster share a value.
type Scope uint8

// The scopes. A Node key names things of one machine: listeners and paths.
const (
	Cluster Scope = iota
	Node
)

// String gives "cluster" or "node".
func (s Scope) String() string {
	if s == Node {
		return "node"
	}
	return "cluster"
}

// A Key describes one setting. It never changes.
type Key struct {
	Name    string // "smtp.listen": section, point, name
	Type    Type
	Default string
	// Min and Max bound an Int, a Size in bytes, or a Duration in
	// nanoseconds; both 0 means 0 and up.
	Min, Max int64
	// Zero is a word that stands for 0 ("none", "never"), which the number
	// itself never does: whoever writes 0 may mean nothing at all or no limit.
	Zero    string
	Choices []string // of an Enum
	// Item says what is wrong with a String or an item of Strings, in words
	// that follow it; may be nil.
	Item    func(string) string
	Scope   Scope
	Restart bool // a change takes effect at the next start
	Boot    bool // read before the database is open: from file and flags only
	Help    string
}

// Section is the part of the name before the point.
func (k *Key) Section() string {
	s, _, _ := strings.Cut(k.Name, ".")
	return s
}

// A slot is one value, ready for its getter.
type slot struct {
	text     string // canonical; of a secret, the secret
	n        int64  // Bool 0 or 1, Int, Size, Duration
	list     []string
	prefixes []netip.Prefix
}

// maxText bounds one value, in bytes; a list of a thousand networks fits.
const maxText = 64 << 10

// parse reads a value. The second result is empty, or says what is wrong with
// it in a few words; what would be right is told by want.
func (k *Key) parse(text string) (slot, string) {
	if len(text) > maxText {
		return slot{}, "too long"
	}
	text = strings.TrimSpace(text)
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return slot{}, "contains a control character"
	}
	switch k.Type {
	case Bool:
		return parseBool(text)
	case Int, Size, Duration:
		return k.parseNumber(text)
	case Enum:
		if !slices.Contains(k.Choices, text) {
			return slot{}, "is not one of the choices"
		}
		return slot{text: text}, ""
	case Addresses, Prefixes, Strings:
		return k.parseList(text)
	}
	if k.Item != nil && text != "" {
		if wrong := k.Item(text); wrong != "" {
			return slot{}, wrong
		}
	}
	return slot{text: text}, ""
}

func parseBool(text string) (slot, string) {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		return slot{text: "true", n: 1}, ""
	case "false", "no", "off", "0":
		return slot{text: "false"}, ""
	}
	return slot{}, "is neither yes nor no"
}

func (k *Key) parseNumber(text string) (slot, string) {
	if k.Zero != "" && strings.EqualFold(text, k.Zero) {
		return slot{text: k.Zero}, ""
	}
	var n int64
	ok := false
	switch k.Type {
	case Int:
		v, err := strconv.ParseInt(text, 10, 64)
		n, ok = v, err == nil
	case Size:
		n, ok = parseSize(text)
	case Duration:
		n, ok = parseDuration(text)
	}
	switch {
	case !ok:
		return slot{}, "is not a " + k.Type.String()
	case n == 0 && k.Zero != "":
		return slot{}, "is too small, and stands for nothing else: write \"" + k.Zero + "\" if it is meant"
	case n < k.Min:
		return slot{}, "is too small"
	case k.Max != 0 && n > k.Max:
		return slot{}, "is too large"
	}
	return slot{n: n, text: k.format(n)}, ""
}

// format writes a number as its type wants it.
func (k *Key) format(n int64) string {
	switch {
	case n == 0 && k.Zero != "":
		return k.Zero
	case k.Type == Size:
		return formatSize(n)
	case k.Type == Duration:
		return formatDuration(n)
	}
	return strconv.FormatInt(n, 10)
}

func (k *Key) parseList(text string) (slot, string) {
	var s slot
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		switch k.Type {
		case Addresses:
			if wrong := checkAddress(item); wrong != "" {
				return slot{}, strconv.Quote(item) + " " + wrong
			}
		case Prefixes:
			p, ok := parsePrefix(item)
			if !ok {
				return slot{}, strconv.Quote(item) + " is not a network"
			}
			s.prefixes = append(s.prefixes, p)
			item = formatPrefix(p)
		case Strings:
			if k.Item != nil {
				if wrong := k.Item(item); wrong != "" {
					return slot{}, strconv.Quote(item) + " " + wrong
				}
			}
		}
		s.list = append(s.list, item)
	}
	s.text = strings.Join(s.list, ", ")
	return s, ""
}

// checkAddress says what is wrong with a listen address.
func checkAddress(s string) string {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return "has no path"
		}
		return ""
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "is not host:port"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "has no port number from 0 to 65535"
	}
	if strings.ContainsAny(host, " /@") {
		return "has no valid host"
	}
	return ""
}

// parsePrefix reads a network or the address of one host. Bits beyond the
// length are cleared, and an IPv4 address within IPv6 becomes plain.
func parsePrefix(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

func formatPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// A unit of sizes or durations.
type unit struct {
	name string
	n    int64
}

// largest first, as they are written.
var (
	sizeUnits = []unit{{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}}
	timeUnits = []unit{
		{"w", int64(7 * 24 * time.Hour)}, {"d", int64(24 * time.Hour)}, {"h", int64(time.Hour)},
		{"m", int64(time.Minute)}, {"s", int64(time.Second)}, {"ms", int64(time.Millisecond)},
	}
)

// parseSize reads "1048576", "1024K", "64M", "64 MB" or "64MiB".
func parseSize(text string) (int64, bool) {
	s := strings.ToUpper(text)
	s = strings.TrimSuffix(s, "B")
	s = strings.TrimSuffix(s, "I")
	factor := int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			s, factor = strings.TrimRight(rest, " "), u.n
			break
		}
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || int64(n) > maxInt64/factor {
		return 0, false
	}
	return int64(n) * factor, true
}

const maxInt64 = 1<<63 - 1

func formatSize(n int64) string {
	for _, u := range sizeUnits {
		if n != 0 && n%u.n == 0 {
			return strconv.FormatInt(n/u.n, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// parseDuration reads one or more numbers with their units: "90s", "1h30m",
// "30d". A bare 0 is right as well.
func parseDuration(text string) (int64, bool) {
	if text == "0" {
		return 0, true
	}
	var total int64
	for rest := text; rest != ""; {
		digits := 0
		for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
			digits++
		}
		letters := digits
		for letters < len(rest) && (rest[letters] < '0' || rest[letters] > '9') {
			letters++
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		name := strings.TrimSpace(rest[digits:letters])
		at := slices.IndexFunc(timeUnits, func(u unit) bool { return u.name == name })
		if err != nil || at < 0 || n > (maxInt64-total)/timeUnits[at].n {
			return 0, false
		}
		total += n * timeUnits[at].n
		rest = rest[letters:]
	}
	return total, text != ""
}

func formatDuration(n int64) string {
	if n == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range timeUnits[1:] { // nobody asked for weeks in answers
		if q := n / u.n; q > 0 {
			b.WriteString(strconv.FormatInt(q, 10))
			b.WriteString(u.name)
			n -= q * u.n
		}
	}
	return b.String()
}

// want says in plain words what a right value is.
func (k *Key) want() string {
	var s string
	switch k.Type {
	case Bool:
		return "true or false"
	case Int:
		s = "a whole number" + k.bounds()
	case Size:
		s = "bytes, or a number with K, M, G or T such as 64M" + k.bounds()
	case Duration:
		s = "a duration such as 90s, 5m, 1h30m or 30d" + k.bounds()
	case Enum:
		return strings.Join(k.Choices, " or ")
	case Addresses:
		return "host:port (127.0.0.1:25, [::1]:25, :25 for all) or unix:PATH, with commas between"
	case Prefixes:
		return "networks or addresses (192.0.2.0/24, 2001:db8::/32, ::1), with commas between"
	case Strings:
		s = "texts with commas between"
	default:
		s = "a text of one line"
	}
	if k.Zero != "" {
		s += ", or " + k.Zero
	}
	return s
}

func (k *Key) bounds() string {
	switch {
	case k.Max != 0:
		return " from " + cmp.Or(k.format(k.Min), "0") + " to " + k.format(k.Max)
	case k.Min > 0:
		return ", at least " + k.format(k.Min)
	}
	return ""
}
