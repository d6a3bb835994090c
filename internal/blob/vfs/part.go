package vfs

import (
	"errors"
	"io"

	"postrider/internal/mail"
)

// ReadPart is ReadAt on the part of r that begins at start and has size
// bytes. If r ends before the part does, the error is of kind Damaged.
func ReadPart(r io.ReaderAt, start, size int64, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off >= size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	short := int64(len(p)) > size-off
	if short {
		p = p[:size-off]
	}
	n, err := r.ReadAt(p, start+off)
	switch {
	case n < len(p) && (err == nil || errors.Is(err, io.EOF)):
		// The body should be there: this is no end, it is damage.
		err = &mail.Error{Kind: mail.Damaged, Text: "a volume is shorter than it should be",
			Err: io.ErrUnexpectedEOF}
	case n == len(p) && short:
		err = io.EOF
	case n == len(p):
		err = nil
	}
	return n, err
}
