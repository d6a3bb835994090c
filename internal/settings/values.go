package settings

import (
	"net/netip"
	"time"
)

// Values is one state of all settings. It never changes, so a session may
// keep one and see a consistent state. The getters neither allocate nor lock;
// what they return must not be changed.
type Values struct {
	slots [count]slot
}

// Bool is the value of a Bool key.
func (v *Values) Bool(k BoolKey) bool { return v.slots[k].n != 0 }

// Int is the value of an Int key; 0 where its word for zero holds.
func (v *Values) Int(k IntKey) int { return int(v.slots[k].n) }

// Size is the value of a Size key in bytes; 0 where its word for zero holds.
func (v *Values) Size(k SizeKey) int64 { return v.slots[k].n }

// Duration is the value of a Duration key; 0 where its word for zero holds.
func (v *Values) Duration(k DurationKey) time.Duration { return time.Duration(v.slots[k].n) }

// String is the value of a String or Enum key, or a Secret in clear, which
// must not be logged.
func (v *Values) String(k StringKey) string { return v.slots[k].text }

// List is the value of an Addresses or Strings key, without empty items.
func (v *Values) List(k ListKey) []string { return v.slots[k].list }

// Prefixes is the value of a Prefixes key.
func (v *Values) Prefixes(k PrefixKey) []netip.Prefix { return v.slots[k].prefixes }

// Contains says whether an address lies in one of the networks of a key. An
// IPv4 address within IPv6 counts as IPv4.
func (v *Values) Contains(k PrefixKey, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range v.slots[k].prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Changed names the keys whose values differ between two states, in the
// order of the reference manual.
func (v *Values) Changed(from *Values) []string {
	var names []string
	for i := range v.slots {
		if v.slots[i].text != from.slots[i].text {
			names = append(names, table[i].Name)
		}
	}
	return names
}
