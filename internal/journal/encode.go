package journal

import (
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// maxValue bounds one value in a record, in bytes; peers choose some.
	maxValue = 1 << 10
	// maxRecord bounds one record, in bytes; further attributes are left out.
	maxRecord = 16 << 10
	// timeForm is RFC 3339 with milliseconds.
	timeForm = "2006-01-02T15:04:05.000Z07:00"
)

// An encoder writes records. Head begins one, attr adds to it, tail ends it.
type encoder interface {
	head(b []byte, t time.Time, level int, component, text string) []byte
	attr(b []byte, key, value string, bare bool) []byte
	tail(b []byte) []byte
}

// textEncoder writes a line for each record:
//
//	2026-01-02T15:04:05.000Z 1 smtp recipient refused peer=192.0.2.1 to=x@example.org
type textEncoder struct{}

func (textEncoder) head(b []byte, t time.Time, level int, component, text string) []byte {
	b = t.AppendFormat(b, timeForm)
	b = append(b, ' ', byte('0'+level), ' ')
	b = append(b, component...)
	b = append(b, ' ')
	return appendPlain(b, text)
}

func (textEncoder) attr(b []byte, key, value string, _ bool) []byte {
	b = append(b, ' ')
	b = appendPlain(b, key)
	b = append(b, '=')
	if needsQuotes(value) {
		return strconv.AppendQuote(b, value)
	}
	return append(b, value...)
}

func (textEncoder) tail(b []byte) []byte { return append(b, '\n') }

// jsonEncoder writes an object for each record, on a line of its own.
type jsonEncoder struct{}

func (jsonEncoder) head(b []byte, t time.Time, level int, component, text string) []byte {
	b = append(b, `{"time":"`...)
	b = t.AppendFormat(b, timeForm)
	b = append(b, `","level":`...)
	b = append(b, byte('0'+level))
	b = append(b, `,"component":`...)
	b = appendJSON(b, component)
	b = append(b, `,"text":`...)
	return appendJSON(b, text)
}

func (jsonEncoder) attr(b []byte, key, value string, bare bool) []byte {
	b = append(b, ',')
	for _, own := range [...]string{"time", "level", "component", "text"} {
		if strings.EqualFold(key, own) { // many a reader takes "Level" for "level"
			key = "attr." + key
			break
		}
	}
	b = appendJSON(b, key)
	b = append(b, ':')
	if bare {
		return append(b, value...)
	}
	return appendJSON(b, value)
}

func (jsonEncoder) tail(b []byte) []byte { return append(b, "}\n"...) }

// appendAttr writes an attribute under its groups' prefix; groups are
// written as one attribute for each of theirs.
func appendAttr(e encoder, b []byte, prefix string, a slog.Attr) []byte {
	if len(b) > maxRecord {
		return b
	}
	if a.Key != "" && isSecret(a.Key) {
		return e.attr(b, prefix+a.Key, mask, false)
	}
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, g := range v.Group() {
			b = appendAttr(e, b, prefix, g)
		}
		return b
	}
	if a.Key == "" {
		return b
	}
	text, bare := show(v)
	if len(text) > maxValue {
		text, bare = clip(text, maxValue)+"…", false
	}
	key := a.Key
	if prefix != "" {
		key = prefix + key
	}
	return e.attr(b, key, text, bare)
}

// show gives the text of a value, and whether JSON takes it without quotes.
func show(v slog.Value) (text string, bare bool) {
	switch v.Kind() {
	case slog.KindString:
		return v.String(), false
	case slog.KindInt64, slog.KindUint64, slog.KindBool:
		return v.String(), true
	case slog.KindFloat64:
		text := v.String()
		return text, !strings.ContainsAny(text, "NI") // NaN and Inf are no JSON
	case slog.KindDuration:
		return v.Duration().String(), false
	case slog.KindTime:
		return v.Time().Format(timeForm), false
	}
	return showAny(v.Any())
}

// showAny gives the text of what says itself how it looks. Structures that do
// not are named by their type: their fields might hold secrets.
func showAny(x any) (text string, bare bool) {
	defer func() {
		if r := recover(); r != nil { // a nil pointer within an interface
			text, bare = fmt.Sprintf("(%T)", x), false
		}
	}()
	switch x := x.(type) {
	case nil:
		return "null", true
	case error:
		return x.Error(), false
	case encoding.TextMarshaler:
		t, err := x.MarshalText()
		if err != nil {
			return err.Error(), false
		}
		return string(t), false
	case fmt.Stringer:
		return x.String(), false
	case []string:
		return strings.Join(x, ", "), false
	}
	switch v := reflect.ValueOf(x); v.Kind() {
	case reflect.String:
		return v.String(), false
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprint(x), true
	}
	return fmt.Sprintf("(%T)", x), false
}

// clip cuts a text to at most n bytes between two characters.
func clip(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// needsQuotes says whether a value would not stand for itself in a line.
func needsQuotes(s string) bool {
	if s == "" {
		return true
	}
	for _, r := range s {
		if r <= ' ' || r == '"' || r == '=' || r == '\\' || r == utf8.RuneError ||
			r >= 0x7f && !unicode.IsPrint(r) {
			return true
		}
	}
	return false
}

// appendPlain writes a text that may hold blanks; whatever could end the
// line or deceive a terminal is escaped.
func appendPlain(b []byte, s string) []byte {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || r > 0x7f && !unicode.IsPrint(r) {
			b = append(b, strings.Trim(strconv.QuoteRune(r), "'")...)
			continue
		}
		b = utf8.AppendRune(b, r)
	}
	return b
}

// appendJSON writes a JSON string (RFC 8259 section 7).
func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s { // bytes that are no UTF-8 come as U+FFFD
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
