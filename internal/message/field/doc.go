// Package field reads the values of header fields: addresses, dates and ids
// of RFC 5322, encoded words (RFC 2047), the types and parameters of MIME (RFC
// 2045, 2183, 2231), and base subjects (RFC 5256). Values are given unfolded,
// as Unfold makes them; they may have UTF-8 (RFC 6532).
//
// It takes what real mail does wrong. Only Recipients and ParseAddress are
// strict, since mail goes where they say. The time that each function takes
// grows with the length of the value and no faster, whatever is in it.
package field
