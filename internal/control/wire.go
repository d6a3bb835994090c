package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"

	"postrider/internal/mail"
)

// The protocol of the control socket is one operation a connection, in lines
// that end in LF:
//
//	C: the token
//	C: {"operation":"account.list","request":{…}}
//	S: {"progress":{"what":"…","done":1,"total":2}}     any number of times
//	S: {"reply":{…}}  or  {"error":{"kind":"not_found","text":"…"}}
//
// The server gives up an operation when the client goes away.

// Limits of the protocol, in bytes.
const (
	maxToken   = 256
	maxRequest = 256 << 20 // an import of a million accounts
)

type call struct {
	Operation string          `json:"operation"`
	Request   json.RawMessage `json:"request,omitempty"`
}

type frame struct {
	Progress *progress       `json:"progress,omitempty"`
	Reply    json.RawMessage `json:"reply,omitempty"`
	Error    *failure        `json:"error,omitempty"`
}

type progress struct {
	What  string `json:"what"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

type failure struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// kindNames are the kinds of failure as scripts see them.
var kindNames = map[mail.Kind]string{
	mail.Internal:    "internal",
	mail.Invalid:     "invalid",
	mail.NotFound:    "not_found",
	mail.Exists:      "exists",
	mail.Conflict:    "conflict",
	mail.Denied:      "denied",
	mail.OverQuota:   "over_quota",
	mail.Full:        "full",
	mail.Temporary:   "temporary",
	mail.Locked:      "locked",
	mail.Unreachable: "unreachable",
	mail.Damaged:     "damaged",
}

// KindName is the kind of an error in a word that does not change:
// "not_found", "exists" and so on.
func KindName(err error) string { return kindNames[mail.KindOf(err)] }

func failureOf(err error) *failure {
	return &failure{Kind: KindName(err), Text: err.Error()}
}

func (f *failure) err() error { return NamedError(f.Kind, f.Text) }

// NamedError is the error of a kind as KindName names it; one that it does
// not know is Internal.
func NamedError(name, text string) error {
	for kind, n := range kindNames {
		if n == name {
			return mail.Errorf(kind, text)
		}
	}
	return mail.Errorf(mail.Internal, text)
}

var errLineTooLong = errors.New("line too long")

// readLine reads a line of at most limit bytes without its LF.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit+1 {
			return nil, errLineTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case !errors.Is(err, bufio.ErrBufferFull):
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}
