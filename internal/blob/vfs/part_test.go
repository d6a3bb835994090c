package vfs

import (
	"errors"
	"io"
	"strings"
	"testing"

	"postrider/internal/mail"
)

func TestReadPart(t *testing.T) {
	for _, tt := range []struct {
		name             string
		start, size, off int64
		n                int
		want             string
		err              error
		kind             mail.Kind
	}{
		{"the whole part", 2, 4, 0, 4, "cdef", nil, 0},
		{"within", 2, 4, 1, 2, "de", nil, 0},
		{"beyond its end", 2, 4, 2, 4, "ef", io.EOF, 0},
		{"at its end", 2, 4, 4, 1, "", io.EOF, 0},
		{"nothing at its end", 2, 4, 4, 0, "", nil, 0},
		{"up to the end of all", 6, 4, 0, 4, "ghij", nil, 0},
		{"all is too short", 8, 4, 0, 4, "ij", io.ErrUnexpectedEOF, mail.Damaged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := make([]byte, tt.n)
			n, err := ReadPart(strings.NewReader("abcdefghij"), tt.start, tt.size, p, tt.off)
			if got := string(p[:n]); got != tt.want || !errors.Is(err, tt.err) ||
				tt.kind != 0 && mail.KindOf(err) != tt.kind {
				t.Errorf("got %q, %v, want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
	if _, err := ReadPart(strings.NewReader(""), 0, 4, nil, -1); err == nil {
		t.Error("a negative offset: no error")
	}
}
