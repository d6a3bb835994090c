package message

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// message4k is the common message: a header of 2 kB, plain text and HTML.
func message4k() []byte {
	var b bytes.Buffer
	b.WriteString("Return-Path: <ben@example.net>\r\n")
	for range 3 {
		b.WriteString("Received: from mx.example.net (mx.example.net [192.0.2.1])\r\n" +
			"\tby mail.example.org (Postrider) with ESMTPS id 0123456789abcdef\r\n" +
			"\tfor <ann@example.org>; Sat, 21 Nov 2026 06:12:44 +0100\r\n")
	}
	b.WriteString("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=s1;\r\n" +
		"\th=from:to:subject:date:message-id; bh=" + strings.Repeat("x", 44) + ";\r\n\tb=" +
		strings.Repeat(strings.Repeat("y", 70)+"\r\n\t ", 4) + "\r\n" +
		"From: Ben Brook <ben@example.net>\r\nTo: Ann Archer <ann@example.org>\r\n" +
		"Cc: \"Cara, Ops\" <cara@example.org>, dan@example.com\r\n" +
		"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from here\r\n" +
		"Date: Sat, 21 Nov 2026 06:12:39 +0100\r\n" +
		"Message-ID: <20261121061239.4711@example.net>\r\n" +
		"In-Reply-To: <20261120.1@example.org>\r\nReferences: <20261119.7@example.net>\r\n" +
		" <20261120.1@example.org>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/alternative; boundary=\"=_b0undary\"\r\n\r\n" +
		"--=_b0undary\r\nContent-Type: text/plain; charset=utf-8\r\n" +
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	line := strings.Repeat("some words of text, ", 3) + "\r\n"
	for b.Len() < 2800 {
		b.WriteString(line)
	}
	b.WriteString("--=_b0undary\r\nContent-Type: text/html; charset=utf-8\r\n\r\n")
	for b.Len() < 4060 {
		b.WriteString("<p>" + line)
	}
	b.WriteString("--=_b0undary--\r\n")
	return b.Bytes()
}

func BenchmarkParse4k(b *testing.B) {
	raw := message4k()
	parse(b, inMemory(raw), int64(len(raw)))
}

func BenchmarkParseWindow4k(b *testing.B) {
	raw := message4k()
	parse(b, windowed{bytes.NewReader(raw)}, int64(len(raw)))
}

// parse measures Parse of the size bytes of r.
func parse(b *testing.B, r io.ReaderAt, size int64) {
	b.Helper()
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(b.Context(), r, size, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkForm4k(b *testing.B) {
	raw := message4k()
	m := parseBytes(b, raw, Limits{})
	var form []byte
	b.ReportAllocs()
	for b.Loop() {
		form = m.AppendForm(form[:0])
	}
	b.ReportMetric(float64(len(form)), "bytes")
}

func BenchmarkParseForm4k(b *testing.B) {
	form := parseBytes(b, message4k(), Limits{}).AppendForm(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseForm(form); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCountReceived4k(b *testing.B) {
	raw := message4k()
	b.ReportAllocs()
	for b.Loop() {
		if h, _ := ParseHeader(raw, Limits{}); h.CountReceived() != 3 {
			b.Fatal("miscounted")
		}
	}
}

// BenchmarkParse1GB scans a message that is never whole in memory.
func BenchmarkParse1GB(b *testing.B) {
	r := newEndless(1<<30, strings.Repeat("QUJD", 19)+"\r\n")
	parse(b, r, r.size)
}

// attachment makes a file with a message of the given size, most of it made
// of copies of line.
func attachment(b *testing.B, size int, line string) *os.File {
	f, err := os.Create(filepath.Join(b.TempDir(), "message"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	chunk := []byte(strings.Repeat(line, 1000))
	f.WriteString("Content-Type: multipart/mixed; boundary=\"=_x\"\r\n\r\n--=_x\r\n\r\n")
	for n := 0; n < size; n += len(chunk) {
		if _, err := f.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	f.WriteString("--=_x--\r\n")
	return f
}

func BenchmarkParseFile(b *testing.B) {
	lines := []struct{ name, line string }{
		{"base64", strings.Repeat("QUJD", 19) + "\r\n"},
		{"text", strings.Repeat("plain text with a-few-dashes ", 3)[:76] + "\r\n"},
		{"dashes", strings.Repeat("-", 76) + "\r\n"},
	}
	for _, l := range lines {
		b.Run(l.name+"/5MB", func(b *testing.B) {
			f := attachment(b, 5<<20, l.line)
			info, err := f.Stat()
			if err != nil {
				b.Fatal(err)
			}
			parse(b, f, info.Size())
		})
	}
}

// BenchmarkDashes reads lines that might be delimiters of many multiparts.
func BenchmarkDashes(b *testing.B) {
	var head strings.Builder
	for i := range DefaultDepth - 1 {
		fmt.Fprintf(&head, "Content-Type: multipart/mixed; boundary=boundary%d\r\n\r\n--boundary%d\r\n",
			i, i)
	}
	text := head.String() + "\r\n" + strings.Repeat("--\r\n", 1<<18)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		m, err := Parse(b.Context(), strings.NewReader(text), int64(len(text)), Limits{})
		if err != nil || m.Root.Section(1) == nil {
			b.Fatal(err)
		}
	}
}
