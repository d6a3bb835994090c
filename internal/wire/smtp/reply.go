package smtp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"postrider/internal/mail"
)

// AppendReply appends r as it stands on the wire (RFC 5321 section 4.2): each
// line of the text with the code, and with the enhanced code where there is
// one (RFC 2034 section 4). It allocates only when dst must grow. CR and NUL
// in the text, which must not be there, come out as spaces.
func AppendReply(dst []byte, r *mail.Reply) []byte {
	text := r.Text
	for {
		line, rest, more := strings.Cut(text, "\n")
		dst = append(dst, byte('0'+r.Code/100%10), byte('0'+r.Code/10%10), byte('0'+r.Code%10))
		if more {
			dst = append(dst, '-')
		} else {
			dst = append(dst, ' ')
		}
		if r.Enhanced != "" {
			dst = append(dst, r.Enhanced...)
			dst = append(dst, ' ')
		}
		start := len(dst)
		dst = append(dst, line...)
		for i := start; i < len(dst); i++ {
			if dst[i] == '\r' || dst[i] == 0 {
				dst[i] = ' '
			}
		}
		dst = append(dst, '\r', '\n')
		if !more {
			return dst
		}
		text = rest
	}
}

// ErrReply is the error of a reply that is none.
var ErrReply = errors.New("not an SMTP reply")

// ReadReply reads one reply, for a client. The text comes without codes, its
// lines separated by \n; the enhanced code is that of the first line. LF
// without CR is taken as a line end. Errors are ErrReply, wrapped, or of the
// reader; r must hold MaxReply bytes, or less is taken as a limit.
func ReadReply(r *bufio.Reader) (*mail.Reply, error) {
	reply := &mail.Reply{}
	var text strings.Builder
	for n := range MaxReplyLines {
		line, err := readReplyLine(r)
		if err != nil {
			return nil, err
		}
		code, last, words, ok := splitReply(line)
		if !ok || n > 0 && code != reply.Code {
			return nil, fmt.Errorf("%w: %.80q", ErrReply, line)
		}
		enhanced, words := cutEnhanced(code, words)
		if n == 0 {
			reply.Code, reply.Enhanced = code, enhanced
		} else {
			text.WriteByte('\n')
		}
		text.WriteString(words)
		if last {
			reply.Text = text.String()
			return reply, nil
		}
	}
	return nil, fmt.Errorf("%w: more than %d lines", ErrReply, MaxReplyLines)
}

func readReplyLine(r *bufio.Reader) (string, error) {
	b, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(b) > MaxReply {
		return "", fmt.Errorf("%w: line too long", ErrReply)
	}
	if err == io.EOF && len(b) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(b[:len(b)-1]), "\r"), nil
}

// splitReply splits "250-text". A code alone is a last line without text.
func splitReply(line string) (code int, last bool, text string, ok bool) {
	if len(line) < 3 {
		return 0, false, "", false
	}
	for i := range 3 {
		if line[i] < '0' || line[i] > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(line[i]-'0')
	}
	if code < 200 || code > 599 {
		return 0, false, "", false
	}
	if len(line) == 3 {
		return code, true, "", true
	}
	return code, line[3] == ' ', line[4:], line[3] == ' ' || line[3] == '-'
}

// cutEnhanced cuts an enhanced status code of the same class (RFC 3463
// section 2).
func cutEnhanced(code int, text string) (enhanced, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	if len(word) < 5 || len(word) > 9 || word[0] != byte('0'+code/100) || word[1] != '.' {
		return "", text
	}
	subject, detail, ok := strings.Cut(word[2:], ".")
	if !ok || !isShortNumber(subject) || !isShortNumber(detail) {
		return "", text
	}
	return word, rest
}

func isShortNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 3
}
