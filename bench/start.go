package main

import (
	"context"
	"path/filepath"
	"time"
)

// starts is how often a start is measured, after the first run.
const starts = 10

// measureStart measures from the moment the program is executed to its first
// banner. The first run, which makes the data directory, stands apart.
func (b *bench) measureStart(ctx context.Context, _ int) error {
	dir := filepath.Join(b.dir, "start")
	p := &postrider{program: b.program, dir: filepath.Join(dir, "data")}
	defer b.discard(p)
	var times []float64
	for i := range starts + 1 {
		began := time.Now()
		if err := p.serve(ctx); err != nil {
			return err
		}
		took := milliseconds(time.Since(began))
		if i == starts {
			wait(ctx, 2*time.Second)
			b.fact("server at rest", float64(memoryOf(p.pid()))/1e6, "MB Pss", "2 s after the start")
		}
		p.stop()
		if i == 0 {
			b.fact("first start to banner", took, "ms", "with an empty data directory")
			continue
		}
		times = append(times, took)
	}
	b.fact("start to banner", median(times), "ms", "median of ten")
	return ctx.Err()
}
