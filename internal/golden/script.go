package golden

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A script is a parsed transcript.
type script struct {
	file  string
	lines []string // of the file, for -update
	setup Setup
	steps []step
}

// A step is one line of it that does something.
type step struct {
	line int // counted from 1
	conn int // counted from 1
	verb string
	text string
}

// The verbs that are followed by a colon, and those that are not.
var (
	colonVerbs = []string{"C", "C-raw", "C-fill", "S", "S-raw", "S-skip"}
	plainVerbs = []string{"C-eof", "C-close", "S-eof", "tls", "let", "do", "wait"}
)

func (s step) sends() bool    { return s.verb == "C" || s.verb == "C-raw" || s.verb == "C-fill" }
func (s step) receives() bool { return s.verb == "S" || s.verb == "S-raw" || s.verb == "S-skip" }

// String is the step as it would stand in a file.
func (s step) String() string {
	prefix := ""
	if s.conn != 1 {
		prefix = strconv.Itoa(s.conn)
	}
	switch {
	case s.text == "" && slices.Contains(colonVerbs, s.verb):
		return prefix + s.verb + ":"
	case slices.Contains(colonVerbs, s.verb):
		return prefix + s.verb + ": " + s.text
	case s.text == "":
		return prefix + s.verb
	}
	return prefix + s.verb + " " + s.text
}

func parse(file, text string) (*script, error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	sc := &script{file: file, lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n")}
	for i, line := range sc.lines {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "setup "); ok {
			key, value, _ := strings.Cut(rest, " ")
			sc.setup = append(sc.setup, Setting{Key: key, Value: value, Line: i + 1})
			continue
		}
		st, ok := parseStep(line)
		if !ok {
			return nil, fmt.Errorf("%s:%d: not a step: %s", file, i+1, line)
		}
		st.line = i + 1
		sc.steps = append(sc.steps, st)
	}
	return sc, nil
}

func parseStep(line string) (step, bool) {
	st := step{conn: 1}
	digits := 0
	for digits < len(line) && '0' <= line[digits] && line[digits] <= '9' {
		digits++
	}
	if digits > 0 {
		st.conn, _ = strconv.Atoi(line[:digits])
		line = line[digits:]
	}
	if verb, text, ok := strings.Cut(line, ":"); ok && slices.Contains(colonVerbs, verb) {
		st.verb, st.text = verb, strings.TrimPrefix(text, " ")
		return st, st.conn > 0
	}
	st.verb, st.text, _ = strings.Cut(line, " ")
	return st, st.conn > 0 && slices.Contains(plainVerbs, st.verb)
}

// words splits at spaces; a word that begins with a quote is a Go string.
func words(s string) ([]string, error) {
	var out []string
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			return out, nil
		}
		if s[0] != '"' {
			var w string
			w, s, _ = strings.Cut(s, " ")
			out = append(out, w)
			continue
		}
		q, err := strconv.QuotedPrefix(s)
		if err != nil {
			return nil, fmt.Errorf("bad quoted string: %s", s)
		}
		w, err := strconv.Unquote(q)
		if err != nil {
			return nil, fmt.Errorf("bad quoted string: %s", q)
		}
		out, s = append(out, w), s[len(q):]
	}
}

// The places in a line where something else may stand.
var wildcard = regexp.MustCompile(`<any>|<\$[a-z][a-z0-9]*>`)

// expand puts values in for the <$name> of a line to be sent.
func expand(s string, vars map[string]string) (string, error) {
	var err error
	out := wildcard.ReplaceAllStringFunc(s, func(m string) string {
		if m == "<any>" {
			return m
		}
		v, ok := vars[m[2:len(m)-1]]
		if !ok {
			err = fmt.Errorf("%s has no value yet", m)
		}
		return v
	})
	return out, err
}

// match compares a line with what is wanted. Names seen for the first time
// take their value, in vars, when the whole line matches.
func match(want, got string, vars map[string]string) bool {
	if want == got {
		return true
	}
	places := wildcard.FindAllStringIndex(want, -1)
	if places == nil {
		return false
	}
	var re strings.Builder
	var names []string // of the groups
	re.WriteString(`(?s)^`)
	at := 0
	for _, p := range places {
		re.WriteString(regexp.QuoteMeta(want[at:p[0]]))
		at = p[1]
		name := strings.TrimPrefix(want[p[0]+1:p[1]-1], "$")
		if v, ok := vars[name]; ok {
			re.WriteString(regexp.QuoteMeta(v))
			continue
		}
		re.WriteString(`(.+)`)
		if want[p[0]+1] != '$' {
			name = ""
		}
		names = append(names, name)
	}
	re.WriteString(regexp.QuoteMeta(want[at:]) + `$`)
	groups := regexp.MustCompile(re.String()).FindStringSubmatch(got)
	if groups == nil {
		return false
	}
	for i, name := range names {
		if name == "" {
			continue
		}
		if old, ok := vars[name]; ok && old != groups[i+1] {
			return false // twice in one line, and different
		}
		vars[name] = groups[i+1]
	}
	return true
}
