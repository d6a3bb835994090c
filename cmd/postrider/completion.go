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
	_, err := io.WriteString(c.Stdout, script)
	return err
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
		return append(levels, components()...)
	case 1:
		return levels
	}
	return nil
}

// components are parts of the server that log under their names.
func components() []string {
	return []string{"auth", "control", "intake", "lmtp", "pop", "pops", "server", "settings", "smtp",
		"store", "submission", "submissions", "tls"}
}
