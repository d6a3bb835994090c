package main

import (
	"strconv"
	"strings"
	"time"
)

// parseSize reads bytes as settings write them: "1048576", "500M", "2G".
func parseSize(text string) (int64, bool) {
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

// parseAge reads a duration before now: one that Go understands, or a number
// of days or weeks.
func parseAge(text string) (time.Duration, bool) {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseInt(number, 10, 16)
			return time.Duration(n) * length, err == nil && n >= 0
		}
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}
