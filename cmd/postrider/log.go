package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"postrider/internal/engine"
	"postrider/internal/journal"
	"postrider/internal/settings"
)

// showLog reads the log files of the data directory itself: it needs neither
// the server nor the lock.
func showLog(ctx ctx, c *call) error {
	dir, err := c.dataDir()
	if err != nil {
		return err
	}
	reg, _, err := engine.Settings(engine.Config{Dir: dir, File: c.opt.config})
	if err != nil {
		return err
	}
	where := dir.Resolve(reg.Current().String(settings.LogDirectory))
	o := journal.ReadOptions{Last: c.opt.lines, Follow: c.opt.follow, Level: c.opt.level,
		Component: c.opt.component}
	if c.opt.all {
		o.Last = -1
	}
	err = journal.Follow(ctx, where, o, c.printRecord)
	if errors.Is(err, context.Canceled) && c.opt.follow {
		return nil // the usual way to end it
	}
	return err
}

// printRecord prints one line of the log. With --json a record that is text
// becomes an object.
func (c *call) printRecord(line []byte) error {
	if c.opt.json && !bytes.HasPrefix(line, []byte("{")) {
		object, err := json.Marshal(map[string]string{"text": string(line)})
		if err != nil {
			return err
		}
		line = object
	}
	if _, err := c.stdout.Write(line); err != nil {
		return err
	}
	_, err := io.WriteString(c.stdout, "\n")
	return err
}
