// Package message reads Internet messages: headers (RFC 5322, RFC 6532) and
// the parts of MIME (RFC 2045 to 2049) with their places in bytes. What the
// values of fields say is read by package field, what stands in bodies by
// package coding. It takes what real mail does wrong: nothing is refused, and
// what was found is noted as Defects.
//
// Parse goes over a message once and keeps its structure, never its body.
// All values are read-only once made and may be shared between goroutines;
// the readers that decode are for one goroutine each.
//
// # The form
//
// A Form is the envelope and structure of a message in a few hundred bytes,
// kept in its row. It is a sequence of values without padding:
//
//	uint     unsigned varint, least significant group first, in its shortest form
//	int      uint of zigzag: 0, -1, 1, -2 are 0, 1, 2, 3
//	text     uint length in bytes, then the bytes
//	coded T  uint place in the table T, counted from 1; or 0, then text
//
//	form     byte version (1), byte flags (1 cut, 2 sent), uint defects, uint size,
//	         uint thread, [sent: int seconds since 1970, int minutes east of UTC],
//	         envelope, text References, text List-Id, part
//	envelope text Date, text Subject, list From, list Sender, list Reply-To, list To,
//	         list Cc, list Bcc, text In-Reply-To, text Message-ID
//	list     entries, byte 0
//	entry    byte 1, text name, text local, text domain
//	         byte 2, text route, text name, text local, text domain
//	         byte 3, text name of a group that begins here
//	         byte 4, the group ends
//	part     coded media type, coded transfer encoding, uint members,
//	         uint offset of the header, counted from the body of the parent,
//	         uint length of the header, uint length of the body, uint lines,
//	         then the members: 1 params of the type, 2 coded disposition,
//	         4 params of the disposition, 8 text id, 16 text description, 32 text MD5,
//	         64 text language, 128 text location, 256 parts, 512 envelope and part of
//	         the embedded message; 1024 has nothing: the part is opaque
//	params   for each byte 1, coded name, text value; then byte 0
//	parts    for each byte 1, part; then byte 0
//
// The tables stand in form.go and belong to the version.
package message
