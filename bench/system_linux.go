package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the unit of CPU times in /proc: USER_HZ is 100 wherever Linux
// runs today.
const clockTick = 10 * time.Millisecond

// cpuOf gives the CPU time that a process and all below it have used, those
// of its children that have ended included.
func cpuOf(pid int) time.Duration {
	var sum time.Duration
	for _, p := range tree(pid) {
		if f := statFields(p); len(f) > 14 {
			for _, ticks := range f[11:15] { // own user and system time, then the children's
				n, _ := strconv.ParseInt(ticks, 10, 64)
				sum += time.Duration(n) * clockTick
			}
		}
	}
	return sum
}

// cpuOfOne gives the CPU time that one process has used.
func cpuOfOne(pid int) time.Duration {
	var sum time.Duration
	if f := statFields(pid); len(f) > 14 {
		for _, ticks := range f[11:13] {
			n, _ := strconv.ParseInt(ticks, 10, 64)
			sum += time.Duration(n) * clockTick
		}
	}
	return sum
}

// tree lists a process and all below it that live now.
func tree(root int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []int{root}
	}
	children := map[int][]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f := statFields(pid); len(f) > 1 {
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], pid)
		}
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// statFields gives what stands in /proc/PID/stat behind the name: the state
// first, the parent next.
func statFields(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, rest, _ := bytes.Cut(data[max(0, bytes.LastIndexByte(data, ')')):], []byte(" "))
	return strings.Fields(string(rest))
}

// busyTime is the CPU time that the whole machine has spent on anything.
func busyTime() time.Duration {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), "\n")
	f := strings.Fields(first)
	var sum time.Duration
	for i, ticks := range f {
		switch i {
		case 1, 2, 3, 6, 7, 8: // user, nice, system, irq, softirq, stolen
			n, _ := strconv.ParseInt(ticks, 10, 64)
			sum += time.Duration(n) * clockTick
		}
	}
	return sum
}

// memoryOf gives the proportional share of memory (Pss) of a process and all
// below it, in bytes.
func memoryOf(pid int) int64 {
	var sum int64
	for _, p := range tree(pid) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				kB, _ := strconv.ParseInt(f[1], 10, 64)
				sum += kB << 10
			}
		}
	}
	return sum
}

// raiseOpenFiles lets this process and its children open want files, or as
// many as the system allows; it returns how many.
func raiseOpenFiles(want uint64) uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	higher := syscall.Rlimit{Cur: max(want, l.Cur), Max: max(want, l.Max)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &higher) == nil {
		return higher.Cur
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return l.Cur
}

// flushData has the system write a file's data to the disk.
func flushData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// tie lets a child end when this process does, however that ends.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
