package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"text/tabwriter"
)

// A report is everything that was measured. As JSON it is what -json prints.
type report struct {
	System string `json:"system"`
	Cores  int    `json:"cores"`
	// Flush has the disk's flush rate of each round, by blocks in a batch.
	Flush   map[int][]float64 `json:"flush_per_s"`
	Samples []*sample         `json:"samples"`
	Facts   []fact            `json:"facts"`
	Notes   []string          `json:"notes,omitempty"`
}

// A fact is a single number.
type fact struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Note  string  `json:"note,omitempty"`
}

func newReport() *report {
	return &report{System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(),
		Flush: map[int][]float64{}}
}

func (r *report) add(s *sample) { r.Samples = append(r.Samples, s) }

// connections lists the numbers of connections that were measured.
func (r *report) connections() []int {
	seen := map[int]bool{}
	for _, s := range r.Samples {
		seen[s.Conns] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// median is the middle of some numbers, zero of none.
func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// A cell is all rounds of one server under one load.
type cell struct {
	test, server, size string
	conns              int
}

// of gives the medians of a cell over its undisturbed rounds, or over all if
// there are none; quiet is how many there are. It is nil without any round.
func (r *report) of(c cell) (m *sample, quiet int) {
	var all, calm []*sample
	for _, s := range r.Samples {
		if s.Test == c.test && s.Server == c.server && s.Size == c.size && s.Conns == c.conns {
			all = append(all, s)
			if s.OtherCores <= quietCores {
				calm = append(calm, s)
			}
		}
	}
	if quiet = len(calm); quiet == 0 {
		calm = all
	}
	if len(calm) == 0 {
		return nil, 0
	}
	over := func(get func(*sample) float64) float64 {
		var list []float64
		for _, s := range calm {
			list = append(list, get(s))
		}
		return median(list)
	}
	m = &sample{Test: c.test, Server: c.server, Size: c.size, Conns: c.conns,
		Accepted:   over(func(s *sample) float64 { return s.Accepted }),
		Rate:       over(func(s *sample) float64 { return s.Rate }),
		MBps:       over(func(s *sample) float64 { return s.MBps }),
		P50:        over(func(s *sample) float64 { return s.P50 }),
		P99:        over(func(s *sample) float64 { return s.P99 }),
		CPU:        over(func(s *sample) float64 { return s.CPU }),
		OtherCores: over(func(s *sample) float64 { return s.OtherCores })}
	for _, s := range all {
		m.Failures += s.Failures
		m.FirstError = cmp.Or(m.FirstError, s.FirstError)
	}
	return m, quiet
}

// print writes the tables.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s, %d cores; medians of the undisturbed rounds\n", r.System, r.Cores)
	for _, n := range slices.Sorted(maps.Keys(r.Flush)) {
		fmt.Fprintf(w, "4 kB append and flush of this disk, in batches of %d: %.0f/s\n", n,
			median(r.Flush[n]))
	}
	r.printTest(w, "ingest", "Ingest: messages accepted and visible in the mailbox",
		[]string{small, mixed}, "postfix")
	r.printTest(w, "pop", "POP3: login, STAT, UIDL, RETR of all, QUIT",
		[]string{small}, "dovecot")
	if len(r.Facts) > 0 {
		fmt.Fprintln(w)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, f := range r.Facts {
			fmt.Fprintf(t, "%s\t%s %s\t%s\n", f.Name, number(f.Value), f.Unit, f.Note)
		}
		t.Flush()
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "Note:", n)
	}
}

func number(v float64) string {
	if v >= 100 || v == float64(int64(v)) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// orDash is for what a test does not have.
func orDash(v float64) string {
	if v == 0 {
		return "-"
	}
	return number(v)
}

// printTest writes the table of one test. The ratios are those of medians.
func (r *report) printTest(w io.Writer, test, title string, sizes []string, peer string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	rows := 0
	for _, size := range sizes {
		for _, conns := range r.connections() {
			var ours float64
			for _, server := range []string{"sink", "postrider", peer} {
				m, quiet := r.of(cell{test, server, size, conns})
				if m == nil {
					continue
				}
				if rows++; rows == 1 {
					fmt.Fprintf(w, "\n%s\n", title)
					fmt.Fprint(t, "size\tconns\tserver\tmsg/s\taccepted/s\tMB/s\tp50 ms\tp99 ms\t"+
						"CPU us/msg\tothers' cores\tquiet rounds\tfailed\t\n")
				}
				fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%.2f\t%.2f\t%s\t%.2f\t%d\t%d\t", size, conns,
					server, number(m.Rate), orDash(m.Accepted), number(m.MBps), m.P50, m.P99,
					number(m.CPU), m.OtherCores, quiet, m.Failures)
				if server == "postrider" {
					ours = m.Rate
					if flush := median(r.Flush[conns]); test == "ingest" && flush > 0 {
						fmt.Fprintf(t, " %.2f of the flush rate", m.Rate/flush)
					}
				} else if server == peer && m.Rate > 0 {
					fmt.Fprintf(t, " postrider has %.1f times this", ours/m.Rate)
				}
				if m.OtherCores > quietCores {
					fmt.Fprint(t, " DISTURBED")
				}
				fmt.Fprintln(t)
				if m.FirstError != "" {
					r.Notes = append(r.Notes, fmt.Sprintf("%s, %s, %d connections: %s", server, size,
						conns, m.FirstError))
				}
			}
		}
	}
	t.Flush()
}
