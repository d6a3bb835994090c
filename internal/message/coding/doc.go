// Package coding turns the bytes of mail into text: transfer encodings (RFC
// 2045 section 6), the encodings of encoded words (RFC 2047 section 4) and of
// parameters (RFC 2231 section 4), and charsets. Nothing is refused: broken
// input is read as far as it makes sense.
//
// Functions may be called concurrently; the readers are for one goroutine
// each.
package coding
