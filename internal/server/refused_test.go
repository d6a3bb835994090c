package server

import (
	"path/filepath"
	"strings"
	"testing"
)

// Each path that a door or the hall refuses has its record of level 1
// (facts T14).
func TestRefusalsInLog(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "data"), append(everyDoor, "log.level=1")...)
	c := dial(t, f.address("smtp"))
	c.want("", "220")
	c.want("EHLO client.test", "250")
	for _, line := range []string{"MAIL FROM:<unqualified>", "MAIL FROM:<big@example.net> SIZE=999999999"} {
		c.want(line, "5")
	}
	c.want("MAIL FROM:<x@example.net>", "250")
	for _, line := range []string{"RCPT TO:<norecipient>", "RCPT TO:<foreign@example.net>",
		"RCPT TO:<nobody@localhost>"} {
		c.want(line, "5")
	}
	s := dial(t, f.address("submission"))
	s.want("", "220")
	s.want("EHLO client.test", "250")
	s.want("MAIL FROM:<noauth@localhost>", "530")
	f.shutdown()
	log := f.log.String()
	for _, want := range []string{"unqualified", "big@example.net", "norecipient",
		"foreign@example.net", "nobody@localhost", "noauth@localhost"} {
		if strings.Count(log, want) == 0 {
			t.Errorf("%s has no record", want)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
}
