package main

import (
	"strings"
	"testing"
)

const failing = `{"Action":"run","Package":"p/a","Test":"TestA"}
{"Action":"output","Package":"p/a","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p/a","Test":"TestA","Output":"    a_test.go:3: got 1, want 2\n"}
{"Action":"fail","Package":"p/a","Test":"TestA"}
{"Action":"output","Package":"p/a","Output":"FAIL\n"}
{"Action":"output","Package":"p/a","Output":"FAIL\tp/a\t0.1s\n"}
{"Action":"fail","Package":"p/a"}
`

const passing = `{"Action":"output","Package":"p/b","Test":"TestB","Output":"    b_test.go:7: quiet\n"}
{"Action":"pass","Package":"p/b","Test":"TestB"}
{"Action":"output","Package":"p/b","Test":"TestC/one","Output":"    b_test.go:9: swaks is not installed\n"}
{"Action":"skip","Package":"p/b","Test":"TestC/one"}
{"Action":"output","Package":"p/b","Test":"TestD","Output":"proof: 10 kills\n"}
{"Action":"pass","Package":"p/b","Test":"TestD"}
{"Action":"output","Package":"p/b","Output":"PASS\n"}
{"Action":"output","Package":"p/b","Output":"ok  \tp/b\t0.1s\n"}
{"Action":"pass","Package":"p/b"}
`

func TestReport(t *testing.T) {
	for _, tc := range []struct {
		name, in, want string
		ok             bool
	}{
		{"pass", passing, "proof: 10 kills\nok  \tp/b\t0.1s\n\nSkipped tests:\n" +
			"--- SKIP: p/b TestC/one: swaks is not installed\n\n" +
			"2 tests passed, 0 failed, 1 skipped\nPASS\n", true},
		{"fail", failing, "    a_test.go:3: got 1, want 2\nFAIL\tp/a\t0.1s\n\n" +
			"0 tests passed, 1 failed, 0 skipped\nFAIL\n", false},
		{"build", `{"Action":"build-output","ImportPath":"p/c","Output":"c.go:1: what\n"}` + "\n" +
			`{"Action":"fail","Package":"p/c"}` + "\n",
			"c.go:1: what\n\n0 tests passed, 0 failed, 0 skipped\nFAIL\n", false},
		{"nothing", "", "\n0 tests passed, 0 failed, 0 skipped\nFAIL\n", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b strings.Builder
			if ok := report(strings.NewReader(tc.in), &b); ok != tc.ok || b.String() != tc.want {
				t.Errorf("got %v\n%s\nwant %v\n%s", ok, b.String(), tc.ok, tc.want)
			}
		})
	}
}
