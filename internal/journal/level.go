package journal

import (
	"log/slog"
	"strconv"
	"strings"

	"postrider/internal/mail"
)

// The five levels, as the values of slog that Logger's methods take: Error
// is a failure, Warn a problem, Info what happens in between, Debug
// everything. A level shows itself and all those before it.
const (
	Failure    = slog.LevelError     // 1: refused mail, refused logins, broken promises
	Major      = slog.LevelError - 2 // 2: start, stop, changes of settings and accounts
	Problem    = slog.LevelWarn      // 3: what will be tried again or needs a look
	Low        = slog.LevelInfo      // 4: each message, each session
	Everything = slog.LevelDebug     // 5: each command
)

// thresholds are the levels by their number.
var thresholds = [...]slog.Level{1: Failure, 2: Major, 3: Problem, 4: Low, 5: Everything}

// Number gives the number of a level, 1 to 5. Levels between two count as
// the more talkative one.
func Number(l slog.Level) int {
	for n := 1; n < len(thresholds); n++ {
		if l >= thresholds[n] {
			return n
		}
	}
	return len(thresholds) - 1
}

// threshold is the lowest slog level that number n shows.
func threshold(n int) slog.Level {
	return thresholds[min(max(n, 1), len(thresholds)-1)]
}

// LevelName gives the name that goes with a number.
func LevelName(n int) string {
	return [...]string{"", "failure", "major", "problem", "low", "everything"}[min(max(n, 0), 5)]
}

// ParseLevels reads a list of "component=level". Invalid names the item that
// is wrong.
func ParseLevels(items []string) (map[string]int, error) {
	levels := make(map[string]int, len(items))
	for _, item := range items {
		name, level, ok := strings.Cut(item, "=")
		n, err := strconv.Atoi(level)
		if !ok || name == "" || err != nil || n < 1 || n > 5 {
			return nil, mail.Errorf(mail.Invalid, strconv.Quote(item)+
				": want component=level with a level from 1 to 5")
		}
		levels[name] = n
	}
	return levels, nil
}
