package server

import (
	"os"
	"strings"

	"postrider/internal/settings"
)

// serviceKeys are the services and their listen keys.
var serviceKeys = []struct {
	name string
	key  settings.ListKey
}{
	{"smtp", settings.SMTPListen}, {"submission", settings.SubmissionListen},
	{"submissions", settings.SubmissionsListen}, {"lmtp", settings.LMTPListen},
	{"pop", settings.POPListen}, {"pops", settings.POPSListen},
	{metricsService, settings.MetricsListen},
}

func listenKeys() []settings.ListKey {
	var keys []settings.ListKey
	for _, s := range serviceKeys {
		keys = append(keys, s.key)
	}
	return keys
}

func unixPath(address string) (string, bool) { return strings.CutPrefix(address, "unix:") }

// split gives the directories among paths, or what is none.
func split(paths []string, wantDirs bool) []string {
	var list []string
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && info.IsDir() == wantDirs {
			list = append(list, p)
		}
	}
	return list
}
