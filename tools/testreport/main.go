// Testreport reads what "go test -json" writes and prints it as people read
// it: a line for each package as it ends, everything about a failure, the
// lines of the proofs, and at the end every test that was skipped, with its
// reason. Its exit status is 1 if anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if !report(os.Stdin, os.Stdout) {
		os.Exit(1)
	}
}

// maxLine bounds a line of the input, in bytes.
const maxLine = 16 << 20

// An event is one line of "go test -json", as go doc test2json tells.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// A reporter counts, and keeps the output of what has not ended yet.
type reporter struct {
	w       io.Writer
	output  map[string][]string // by package and test
	skipped []string
	passed  int
	failed  int
	broken  int // packages without a failed test: build, vet, panic, time
}

// report prints the events of r to w; it says whether all is well.
func report(r io.Reader, w io.Writer) bool {
	p := &reporter{w: w, output: map[string][]string{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(w, lines.Text()) // not of a test
			continue
		}
		p.take(&e)
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(w, "testreport:", err)
		p.broken++
	}
	return p.summary()
}

func (p *reporter) take(e *event) {
	name := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(p.w, e.Output)
	case "output":
		p.print(name, e)
	case "pass":
		if e.Test != "" {
			p.passed++
			delete(p.output, name)
		}
	case "skip":
		if e.Test != "" {
			p.skipped = append(p.skipped, fmt.Sprintf("%s: %s", name, reason(p.output[name])))
		}
		delete(p.output, name)
	case "fail":
		if e.Test != "" {
			p.failed++
		} else {
			p.broken++
		}
		fmt.Fprint(p.w, strings.Join(p.output[name], ""))
		delete(p.output, name)
	}
}

// print keeps the output of a test for the case that it fails; what is of a
// package, and the counts of a proof, are printed at once.
func (p *reporter) print(name string, e *event) {
	switch {
	case strings.HasPrefix(e.Output, "proof: "), strings.HasPrefix(e.Output, "panic: "),
		strings.HasPrefix(e.Output, "FAIL\t"), strings.HasPrefix(e.Output, "ok  \t"):
		fmt.Fprint(p.w, e.Output)
	case e.Test == "" && (e.Output == "PASS\n" || e.Output == "FAIL\n" ||
		strings.Contains(e.Output, "[no test files]")):
	case strings.HasPrefix(e.Output, "=== "):
	default:
		p.output[name] = append(p.output[name], e.Output)
	}
}

// reason is what a skipped test said: "    file_test.go:12: swaks is not installed".
func reason(output []string) string {
	for _, line := range output {
		_, text, ok := strings.Cut(strings.TrimSpace(line), "_test.go:")
		if _, text, found := strings.Cut(text, ": "); ok && found {
			return text
		}
	}
	return "no reason is given"
}

// summary prints the end.
func (p *reporter) summary() bool {
	if len(p.skipped) > 0 {
		fmt.Fprintln(p.w, "\nSkipped tests:")
	}
	for _, s := range p.skipped {
		fmt.Fprintln(p.w, "--- SKIP: "+s)
	}
	fmt.Fprintf(p.w, "\n%d tests passed, %d failed, %d skipped\n", p.passed, p.failed,
		len(p.skipped))
	if p.failed+p.broken > 0 || p.passed == 0 {
		fmt.Fprintln(p.w, "FAIL")
		return false
	}
	fmt.Fprintln(p.w, "PASS")
	return true
}
