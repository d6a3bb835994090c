package main

import (
	"context"
	"io"

	"postrider/internal/settings"
)

func (c *call) completion(context.Context) error {
	script, ok := c.program.Script(c.line.Arg(0))
	if !ok {
		return c.usage("completion: want bash, zsh or fish")
	}
	answer := completionScript{Shell: c.line.Arg(0), Content: script}
	return c.Answer(answer, func(w io.Writer) { io.WriteString(w, script) })
}

// A completionScript is what a shell must be told, as JSON.
type completionScript struct {
	Shell   string `json:"shell"`
	Content string `json:"content"`
}

// completeFlag gives what may be the value of a flag; where there is nothing,
// the shell offers files.
func completeFlag(name string) []string {
	switch name {
	case "set":
		var list []string
		for _, key := range completeKeys(0) {
			list = append(list, key+"=")
		}
		return list
	case "component":
		return settings.LogComponents()
	case "level":
		return []string{"1", "2", "3", "4", "5"}
	case "apop":
		return []string{"off", "allowed", "required"}
	case "login":
		return []string{"yes", "no"}
	case "notify":
		return []string{"none", "last-ip", "ip:"}
	case "format":
		return []string{"sims", "eims"}
	case "charset":
		return []string{"utf-8", "macintosh", "latin1"}
	}
	return nil
}

// What may stand for an argument that has so many before it.

// completeKey is for "settings KEY".
func completeKey(before int) []string {
	if before > 0 {
		return nil
	}
	return completeKeys(before)
}

// completeKeys is for "settings reset KEY...".
func completeKeys(int) []string {
	var list []string
	for _, k := range settings.Keys() {
		list = append(list, k.Name)
	}
	return list
}

// completeAssignments is for "settings set KEY VALUE [KEY VALUE]...".
func completeAssignments(before int) []string {
	if before%2 > 0 {
		return nil
	}
	return completeKeys(before)
}

// completeLevel is for "log level [[COMPONENT] LEVEL]".
func completeLevel(before int) []string {
	levels := []string{"1", "2", "3", "4", "5", settingsLevel}
	switch before {
	case 0:
		return append(levels, settings.LogComponents()...)
	case 1:
		return levels
	}
	return nil
}
