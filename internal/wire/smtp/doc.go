// Package smtp is the grammar of SMTP and LMTP: command lines, paths, ESMTP
// parameters, replies and the transparency of DATA. Server, client and
// fuzzers share it. It holds no state between calls, does no input or output
// of its own but on what it is given, and knows no policy: what is refused
// here is refused because it cannot be understood.
//
// Functions that read what a client sent return a refusal, ready for the
// wire, or nil. The refusals are shared and must not be changed.
package smtp

// Limits of the grammar, in bytes without the line end. RFC 5321 section
// 4.5.3.1 gives smallest values that everybody must take; extensions add to
// them (500 for AUTH=, 100 for ENVID, 500 for ORCPT, path and keywords).
const (
	// MaxCommand bounds a command line other than AUTH.
	MaxCommand = 2048
	// MaxLine bounds any line of the command dialogue (RFC 4954 section 4).
	MaxLine = 12288
	// MaxPath bounds a path with its angle brackets, without source route.
	// There is no smaller limit for the local part: return paths of mailing
	// lists and forwarders (VERP, SRS) are often above 64.
	MaxPath = 256
	// MaxPathUTF8 bounds a path that holds other than ASCII characters.
	MaxPathUTF8 = 512
	// MaxDomain bounds a domain.
	MaxDomain = 255
	// MaxLabel bounds one label of a domain (RFC 1035 section 2.3.4).
	MaxLabel = 63
	// MaxReply bounds one line of a reply that a client reads. RFC 5321 says
	// 512; servers with long explanations are known.
	MaxReply = 4096
	// MaxReplyLines bounds the lines of one reply that a client reads.
	MaxReplyLines = 256
)
