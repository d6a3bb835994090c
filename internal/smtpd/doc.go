// Package smtpd is the door by which mail comes in over SMTP, submission and
// LMTP. It speaks the protocol; every judgement about a message is the
// hall's, package intake.
//
// A session is a table of commands. A handler parses its arguments whole,
// checks the state, acts through the hall, and returns a reply; only the
// loop in session.go writes. The two exceptions are the 354 of DATA, and the
// 220 before a TLS handshake, which must go out while a handler still works.
//
// A session is used by one goroutine at a time, as package link promises. It
// keeps no buffer between two lines. Server is safe for concurrent use.
//
// # What is implemented
//
//	RFC 5321  Simple Mail Transfer Protocol: whole, but that source routes
//	          are forgotten (appendix C), VRFY confirms nothing, EXPN is off
//	RFC 5321  strict CRLF (section 2.3.8): bare CR or LF refuse the message
//	RFC 1870  SIZE
//	RFC 1985  ETRN: refused with 502 until there is a queue
//	RFC 2033  LMTP
//	RFC 2034  ENHANCEDSTATUSCODES, with the codes of RFC 3463 and RFC 5248
//	RFC 2920  PIPELINING
//	RFC 3030  CHUNKING and BINARYMIME
//	RFC 3207  STARTTLS
//	RFC 3461  DSN: parameters taken and handed on, announced by a switch
//	RFC 3848  the with keywords of the Received line
//	RFC 4865  FUTURERELEASE: parameters taken and handed on, announced by a
//	          switch
//	RFC 4954  AUTH, and its parameter of MAIL
//	RFC 6152  8BITMIME
//	RFC 6409  submission: MAIL wants a login
//	RFC 6531  SMTPUTF8
//	RFC 6533  the utf-8 address type of ORCPT
//	RFC 8314  implicit TLS, by package link
//	RFC 8689  REQUIRETLS
//	RFC 9422  LIMITS with MAILMAX and RCPTMAX
package smtpd
