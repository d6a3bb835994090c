package smtpd

import "postrider/internal/mail"

// The replies that do not depend on anything. The hall's are not here.
var (
	replyFull        = mail.NewReply(421, "4.7.0", "too many connections, try again later")
	replyFullAddress = mail.NewReply(421, "4.7.0", "too many connections from your address")
	replyTimeout     = mail.NewReply(421, "4.4.2", "time-out, closing the connection")
	replyShutdown    = mail.NewReply(421, "4.3.2", "server is stopping, try again soon")
	replyOverlong    = mail.NewReply(421, "4.4.2", "session too long, please connect again")
	replyErrors      = mail.NewReply(421, "4.7.0", "too many errors")
	replyUnknowns    = mail.NewReply(421, "4.7.0", "too many unrecognized commands")
	replyCommands    = mail.NewReply(421, "4.7.0", "too many commands, please connect again")
	replyMessages    = mail.NewReply(421, "4.5.3", "too many messages, please connect again")
	replyAttempts    = mail.NewReply(421, "4.7.0", "too many failed logins")
	replyUserFull    = mail.NewReply(421, "4.7.0", "too many sessions of this user")

	replyBye     = mail.NewReply(221, "2.0.0", "bye")
	replyOK      = mail.NewReply(250, "2.0.0", "ok")
	replySender  = mail.NewReply(250, "2.1.0", "sender ok")
	replyRcpt    = mail.NewReply(250, "2.1.5", "recipient ok")
	replyChunk   = mail.NewReply(250, "2.0.0", "chunk received")
	replyStart   = mail.NewReply(354, "", "end with CRLF, a dot and CRLF")
	replyStarted = mail.NewReply(220, "2.0.0", "ready for TLS")
	replyVerify  = mail.NewReply(252, "2.0.0", "cannot verify, but send and see")
	replyLogin   = mail.NewReply(235, "2.7.0", "welcome")
	replyHelp    = mail.NewReply(214, "2.0.0",
		"HELO EHLO STARTTLS AUTH MAIL RCPT DATA BDAT\nRSET NOOP VRFY HELP QUIT")
	replyHelpLMTP = mail.NewReply(214, "2.0.0",
		"LHLO STARTTLS AUTH MAIL RCPT DATA BDAT\nRSET NOOP VRFY HELP QUIT")

	replyCRLF      = mail.NewReply(500, "5.5.2", "lines must end in CRLF, this one ended in LF")
	replyBareCR    = mail.NewReply(500, "5.5.2", "CR or NUL within the line")
	replyTooLong   = mail.NewReply(500, "5.5.2", "line too long")
	replyAuthLong  = mail.NewReply(500, "5.5.6", "authentication line too long")
	replyUnknown   = mail.NewReply(500, "5.5.1", "command not recognized")
	replyNotHere   = mail.NewReply(502, "5.5.1", "command not implemented")
	replyNoArgs    = mail.NewReply(501, "5.5.4", "this command takes no arguments")
	replyHello     = mail.NewReply(501, "5.5.4", "a domain or address literal is wanted")
	replyAuthArgs  = mail.NewReply(501, "5.5.4", "syntax: AUTH mechanism [initial-response]")
	replyAuthTwice = mail.NewReply(503, "5.5.1", "already authenticated")
	replyBase64    = mail.NewReply(501, "5.5.2", "cannot decode base 64")
	replyCancelled = mail.NewReply(501, "5.7.0", "authentication cancelled")
	replyNoAuth    = mail.NewReply(502, "5.5.1", "no logins here")
	replyNoTLS     = mail.NewReply(502, "5.5.1", "TLS is not available")
	replyTLSTwice  = mail.NewReply(503, "5.5.1", "TLS is active already")
	replyWantAuth  = mail.NewReply(530, "5.7.0", "authentication required")
	replyWantTLS   = mail.NewReply(530, "5.7.0", "STARTTLS and authentication required")
	replyHandshake = mail.NewReply(554, "5.5.1", "TLS begins with STARTTLS on this port")
	replyWeb       = mail.NewReply(554, "5.5.1", "this is a mail server")

	replyGreetFirst = mail.NewReply(503, "5.5.1", "EHLO or HELO first")
	replyLHLOFirst  = mail.NewReply(503, "5.5.1", "LHLO first")
	replyMailFirst  = mail.NewReply(503, "5.5.1", "MAIL first")
	replyNoRcpt     = mail.NewReply(554, "5.5.1", "no valid recipients")
	replyNoRcptLMTP = mail.NewReply(503, "5.5.1", "no valid recipients") // RFC 2033 section 4.2
	replyInside     = mail.NewReply(503, "5.5.1", "not during a mail transaction")
	replyChunks     = mail.NewReply(503, "5.5.1", "after BDAT only BDAT or RSET")
	replyBinary     = mail.NewReply(503, "5.5.1", "BINARYMIME needs BDAT")
	replyBDATArgs   = mail.NewReply(501, "5.5.4", "syntax: BDAT size [LAST]")

	replyTooBig   = mail.NewReply(552, "5.3.4", "message too big")
	replyTooMany  = mail.NewReply(452, "4.5.3", "too many recipients")
	replyBareLine = mail.NewReply(554, "5.6.0", "message refused: CR or LF outside CRLF")
)
