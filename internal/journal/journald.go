package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// journaldSocket is where systemd-journald takes records in its native form.
const journaldSocket = "/run/systemd/journal/socket"

// priorities are syslog's severities for the levels 1 to 5.
var priorities = [...]byte{1: '3', 2: '5', 3: '4', 4: '6', 5: '7'}

// journald sends each record as a datagram of fields.
type journald struct {
	path string
	conn *net.UnixConn
	buf  []byte
}

// openJournald connects to journald. Where it is missing, records go to
// standard error with the priority before them, which systemd understands.
func openJournald(path string, stderr io.Writer) (sink, error) {
	if path == "" {
		path = journaldSocket
	}
	j := &journald{path: path}
	if err := j.dial(); err != nil {
		return prefixed{stderr}, nil
	}
	return j, nil
}

func (j *journald) dial() error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: j.path, Net: "unixgram"})
	if err != nil {
		return err
	}
	if j.conn != nil {
		_ = j.conn.Close()
	}
	j.conn = conn
	return nil
}

// message is a record without its line end and, as text, without its time,
// which the systemd journal adds itself.
func message(record []byte) []byte {
	record = bytes.TrimSuffix(record, []byte("\n"))
	if _, rest, ok := bytes.Cut(record, []byte(" ")); ok && record[0] != '{' {
		return rest
	}
	return record
}

func (j *journald) write(b *batch) (int, error) {
	at := 0
	for i, m := range b.marks {
		line := message(b.buf[at:m.end])
		at = m.end
		p := append(j.buf[:0], "SYSLOG_IDENTIFIER=postrider\nPRIORITY="...)
		p = append(p, priorities[m.level], '\n')
		p = fmt.Appendf(p, "POSTRIDER_LEVEL=%d\n", m.level)
		// The form for any value: name, length, bytes.
		p = append(p, "MESSAGE\n"...)
		p = binary.LittleEndian.AppendUint64(p, uint64(len(line)))
		p = append(p, line...)
		p = append(p, '\n')
		j.buf = p
		_, err := j.conn.Write(p)
		if err != nil && j.dial() == nil { // journald was started again
			_, err = j.conn.Write(p)
		}
		if err != nil {
			return i, err
		}
	}
	return len(b.marks), nil
}

func (j *journald) close() error { return j.conn.Close() }

// prefixed writes "<3>" before each record, as systemd reads it from a
// service's standard error.
type prefixed struct{ w io.Writer }

func (s prefixed) write(b *batch) (int, error) {
	var out []byte
	at := 0
	for _, m := range b.marks {
		out = append(out, '<', priorities[m.level], '>')
		out = append(append(out, message(b.buf[at:m.end])...), '\n')
		at = m.end
	}
	if len(out) > 0 {
		_, _ = s.w.Write(out)
	}
	return len(b.marks), nil
}

func (s prefixed) close() error { return nil }
