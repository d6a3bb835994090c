package cli

import (
	"fmt"
	"slices"
	"strings"
)

// find takes the command with the longest name that the words begin with, and
// gives the words after it.
func (p *Program) find(words []string) (*Command, []string, error) {
	for n := min(len(words), MaxWords); n > 0; n-- {
		name := strings.Join(words[:n], " ")
		for i := range p.Commands {
			if p.Commands[i].Name == name {
				return &p.Commands[i], words[n:], nil
			}
		}
	}
	return nil, nil, &UsageError{Text: p.unknown(words)}
}

// unknown says that the words name no command, and what may be meant.
func (p *Program) unknown(words []string) string {
	if len(words) == 0 {
		return "a command is missing"
	}
	group, wrong := "", p.Shorten(words[0])
	if len(words) > 1 && p.isGroup(words[0]) {
		group, wrong = words[0]+" ", p.Shorten(words[1])
	} else if p.isGroup(words[0]) {
		return fmt.Sprintf("%q needs another word: %s", words[0],
			strings.Join(p.within(words[0]+" "), ", "))
	}
	text := fmt.Sprintf("there is no command %q", group+wrong)
	if near := nearest(wrong, p.within(group)); near != "" {
		text += fmt.Sprintf("; did you mean %q?", group+near)
	} else if group != "" {
		text += "; there are " + strings.Join(p.within(group), ", ")
	}
	return text
}

// isGroup says whether commands of more words begin with these.
func (p *Program) isGroup(words string) bool { return len(p.within(words+" ")) > 0 }

// within lists the words that may follow a prefix of whole words.
func (p *Program) within(prefix string) []string {
	var list []string
	for i := range p.Commands {
		rest, ok := strings.CutPrefix(p.Commands[i].Name, prefix)
		if !ok {
			continue
		}
		word, _, _ := strings.Cut(rest, " ")
		if !slices.Contains(list, word) {
			list = append(list, word)
		}
	}
	return list
}

// nearest finds the word most like the given one, or nothing if none is near.
func nearest(wrong string, words []string) string {
	best, found := 1+max(1, len(wrong)/3), ""
	for _, w := range words {
		if d := distance(wrong, w); d < best {
			best, found = d, w
		}
		if len(wrong) >= 3 && strings.HasPrefix(w, wrong) && best > 1 {
			best, found = 1, w
		}
	}
	return found
}

// maxWord bounds the words that are compared, in bytes.
const maxWord = 40

// distance counts the letters to insert, remove or replace to get from a to b.
func distance(a, b string) int {
	if len(a) > maxWord || len(b) > maxWord {
		return maxWord
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
