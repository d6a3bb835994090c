package settings

import (
	"strconv"
	"strings"
)

// maxName bounds the names that suggestions are sought for, in bytes.
const maxName = 64

// unknown says that a name is no key, and what may have been meant.
func unknown(name string) string {
	if len(name) > maxName {
		return strconv.Quote(name[:maxName]+"…") + " is no setting"
	}
	text := strconv.Quote(name) + " is no setting"
	if near := nearest(name); near != "" {
		text += "; did you mean " + strconv.Quote(near) + "?"
	}
	return text
}

// unknownSection says that a table of the file is no section.
func unknownSection(name string) string {
	text := "[" + name + "] is no section of settings"
	if len(name) > maxName {
		return "[" + name[:maxName] + "…] is no section of settings"
	}
	first, _, deeper := strings.Cut(strings.ToLower(name), ".")
	best, found := 3, ""
	for i := range table {
		if d := distance(first, table[i].Section()); d < best {
			best, found = d, table[i].Section()
		}
	}
	if found != "" && (deeper || best < len(first)) {
		text += "; did you mean [" + found + "]?"
	}
	return text
}

// nearest finds the key whose name is most like the given one, or nothing if
// none is near. The last part alone counts too ("max_size").
func nearest(name string) string {
	lower := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	best, found := 1+max(2, len(name)/3), ""
	for i := range table {
		full := table[i].Name
		if d := distance(lower, full); d < best {
			best, found = d, full
		}
		_, last, _ := strings.Cut(full, ".")
		if lower == last && best > 1 {
			best, found = 1, full
		}
	}
	return found
}

// distance counts the letters to insert, remove, replace or swap with their
// neighbour to get from a to b.
func distance(a, b string) int {
	var before, last, row [maxName + 1]int
	if len(a) > maxName || len(b) > maxName {
		return maxName
	}
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
