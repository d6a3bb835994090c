package main

import (
	"os"
	"time"
)

// blockSize is what is appended for each message when the disk's own flush
// rate is measured.
const blockSize = 4 << 10

// flushRate appends blocks to a file in dir, flushes after every batch of
// them, and returns the blocks a second: what no server can beat that flushes
// once for so many messages.
func flushRate(dir string, batch int, duration time.Duration) (float64, error) {
	f, err := os.CreateTemp(dir, "flush-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, blockSize*batch)
	for i := range block {
		block[i] = byte(i * 31 >> 3)
	}
	blocks, start := 0, time.Now()
	for time.Since(start) < duration {
		for i := range batch {
			if _, err := f.Write(block[i*blockSize : (i+1)*blockSize]); err != nil {
				return 0, err
			}
		}
		if err := flushData(f); err != nil {
			return 0, err
		}
		blocks += batch
	}
	return float64(blocks) / time.Since(start).Seconds(), nil
}
