package clients

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// letter is a message that is hard to carry: dots at the begin of lines, an
// empty line and spaces at the end, a line of 900 letters.
// Who sends it can be anybody.
var letter = "From: \"A. Writer\" <sender@example.net>\r\nTo: Someone <someone@example.net>\r\n" +
	"Date: Mon, 02 Mar 2026 10:00:00 +0100\r\nMessage-ID: <letter@example.net>\r\n" +
	"Subject: a letter\r\n\r\n.\r\n..\r\n.dot\r\nFrom here on\r\n" + long + "\r\n" +
	"spaces at the end   \r\n\r\nend\r\n"

// long is a line of 900 letters.
var long = strings.Repeat("0123456789", 90)

// binary is a message of every byte there is.
var binary = "From: sender@example.net\r\nDate: Mon, 02 Mar 2026 10:00:00 +0100\r\n" +
	"Message-ID: <binary@example.net>\r\nSubject: any byte\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" +
	strings.Repeat(everyByte(), 20) + "\r\n"

func everyByte() string {
	var b [256]byte
	for c := range b {
		b[c] = byte(c)
	}
	return string(b[:])
}

// shown is a binary message as POP3 shows it: in base64 (RFC 3030 section 3).
func shown(message string) string {
	head, body, _ := strings.Cut(message, "Encoding: binary\r\n\r\n")
	var b strings.Builder
	for line := range slices.Chunk([]byte(body), 57) {
		b.WriteString(base64.StdEncoding.EncodeToString(line) + "\r\n")
	}
	return head + "Encoding: base64\r\n\r\n" + b.String()
}

// letterOf is the letter as an account may submit it.
func letterOf(address string) string {
	return strings.Replace(letter, "sender@example.net", address, 1)
}

// numbered is the letter with a subject of its own.
func numbered(subject string) string {
	return strings.Replace(letter, "Subject: a letter", "Subject: "+subject, 1)
}

// difference shows two texts where they begin to differ.
func difference(got, want string) string {
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	from := max(0, i-20)
	return fmt.Sprintf("they differ at %d (lengths %d and %d):\ngot  …%.300q\nwant …%.300q", i,
		len(got), len(want), got[from:], want[from:])
}

// file writes a file of its own into a directory of its own, and gives its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
