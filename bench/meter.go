package main

import (
	"os"
	"time"
)

// quietCores is how much of the machine others may use, in cores, before a
// measurement is called disturbed.
const quietCores = 0.35

// A meter watches how much CPU time a run costs: the server's, and that of
// strangers to the measurement.
type meter struct {
	pid    int
	start  time.Time
	server time.Duration
	own    time.Duration
	busy   time.Duration
}

// startMeter begins to watch a server process and all below it.
func startMeter(pid int) *meter {
	m := &meter{pid: pid, start: time.Now(), server: cpuOf(pid), busy: busyTime()}
	m.own = ownTime()
	return m
}

// read gives the server's CPU time since the start, and how many cores all
// but the server and this program have used on average.
func (m *meter) read() (server time.Duration, otherCores float64) {
	server = cpuOf(m.pid) - m.server
	others := busyTime() - m.busy - server - (ownTime() - m.own)
	return server, max(0, others.Seconds()/time.Since(m.start).Seconds())
}

// ownTime is this process's CPU time, that of its children left out.
func ownTime() time.Duration { return cpuOfOne(os.Getpid()) }
