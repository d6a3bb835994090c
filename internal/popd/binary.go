package popd

import (
	"context"
	"errors"
	"hash/crc32"
	"io"

	"postrider/internal/mail"
	"postrider/internal/message"
	"postrider/internal/store"
)

// A view is a message whose binary parts are shown in base64: POP3 has lines
// only (RFC 1939 section 3), and what comes by BINARYMIME has none.
type view struct {
	*message.View
	io.Closer // of what is stored
}

// inLines makes the view of a message. The row should have its parsed form,
// which spares reading the whole.
func inLines(ctx context.Context, row *store.Email, r store.MessageReader) (*view, error) {
	start := int64(len(row.Prefix))
	f, err := message.ParseForm(row.Parsed)
	if err == nil && !f.Cut {
		v, err := message.WithoutBinary(r, r.Size(), start, f.Root)
		return &view{v, r}, err
	}
	m, err := message.Parse(ctx, io.NewSectionReader(r, start, r.Size()-start), r.Size()-start,
		message.Limits{})
	if err != nil {
		return nil, err
	}
	v, err := message.WithoutBinary(r, r.Size(), start, m.Root)
	return &view{v, r}, err
}

// shown gives the view of a message with binary parts. Its body is compared
// with its checksum before, since what is sent has another one. R is closed
// by the view, or on an error.
func (s *session) shown(ctx context.Context, row *store.Email, r store.MessageReader) (
	store.MessageReader, error) {
	v, err := s.verified(ctx, row, r)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return v, nil
}

func (s *session) verified(ctx context.Context, row *store.Email, r store.MessageReader) (
	store.MessageReader, error) {
	rows, err := s.srv.cfg.Store.Emails(ctx, s.drop.account, []mail.EmailID{row.ID}, true)
	if err != nil {
		return nil, err
	}
	if rows[0] != nil {
		row.Parsed = rows[0].Parsed
	}
	sum := crc32.New(castagnoli)
	start := int64(len(row.Prefix))
	if _, err := io.Copy(sum, io.NewSectionReader(r, start, r.Size()-start)); err != nil {
		return nil, err
	}
	if sum.Sum32() != row.Location.Sum {
		return nil, errDamaged
	}
	return inLines(ctx, row, r)
}
