package terminal

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Table prints rows in columns. A head is a row like the others.
func Table(w io.Writer, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	tw.Flush()
}

// Fold breaks a text between words into lines of at most width bytes; a longer
// word has a line of its own.
func Fold(text string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

// Size writes a number of bytes, as 1536 is "1.5 kB".
func Size(bytes int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	f, u := float64(bytes), 0
	for f >= 1024 && u < len(units)-1 {
		f /= 1024
		u++
	}
	if u == 0 || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[u])
	}
	return fmt.Sprintf("%.1f %s", f, units[u])
}

// YesNo writes "yes" or "no".
func YesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Moment writes a time, in the time zone of who reads it; none is "-".
func Moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// Plural writes a number with its noun: "1 line", "2 lines".
func Plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

// ParseSize reads a number of bytes: "1048576", "500M", "2 GB". Units are
// those of 1024; case does not matter.
func ParseSize(text string) (bytes int64, ok bool) {
	s := strings.ToUpper(strings.TrimSpace(text))
	s = strings.TrimSuffix(strings.TrimSuffix(s, "B"), "I")
	shift := 0
	if s != "" {
		if at := strings.IndexByte("KMGT", s[len(s)-1]); at >= 0 {
			s, shift = strings.TrimSpace(s[:len(s)-1]), 10*(at+1)
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return 0, false
	}
	return n << shift, true
}

// ParseAge reads a duration that is not negative: one that Go understands,
// such as "90m", or a number of days or weeks, such as "3d".
func ParseAge(text string) (age time.Duration, ok bool) {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseInt(number, 10, 16)
			return time.Duration(n) * length, err == nil && n >= 0
		}
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}

// ParseTime reads a moment: a duration before now, or a date, with or without
// a time of day, in the time zone of who types it.
func ParseTime(text string, now time.Time) (at time.Time, ok bool) {
	if d, ok := ParseAge(text); ok {
		return now.Add(-d), true
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04",
		time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
