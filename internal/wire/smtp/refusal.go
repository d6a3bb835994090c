package smtp

import "postrider/internal/mail"

// The refusals of this package. Those of paths have a table for each of the
// two commands, because the enhanced code differs (RFC 3463 section 3.2).
var (
	mailFaults = pathRefusals("5.1.7", "sender: ")
	rcptFaults = pathRefusals("5.1.3", "recipient: ")

	errMailSyntax = mail.NewReply(501, "5.5.4", "syntax: MAIL FROM:<address> [parameters]")
	errRcptSyntax = mail.NewReply(501, "5.5.4", "syntax: RCPT TO:<address> [parameters]")
	errUnknown    = mail.NewReply(555, "5.5.4", "parameter not known here")
	errTwice      = mail.NewReply(501, "5.5.4", "parameter given twice")
	errSize       = mail.NewReply(501, "5.5.4", "SIZE wants a number of bytes")
	errBody       = mail.NewReply(501, "5.5.4", "BODY is 7BIT, 8BITMIME or BINARYMIME")
	errFlag       = mail.NewReply(501, "5.5.4", "this parameter takes no value")
	errAuth       = mail.NewReply(501, "5.5.4", "AUTH wants an address in xtext, or <>")
	errReturn     = mail.NewReply(501, "5.5.4", "RET is FULL or HDRS")
	errEnvelopeID = mail.NewReply(501, "5.5.4", "ENVID wants up to 100 characters of xtext")
	errHold       = mail.NewReply(501, "5.5.4", "HOLDFOR wants seconds, HOLDUNTIL a date and time")
	errHoldTwice  = mail.NewReply(501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other")
	errHoldLong   = mail.NewReply(501, "5.5.4", "the message cannot be held that long")
	errNotify     = mail.NewReply(501, "5.5.4", "NOTIFY is NEVER or some of SUCCESS,FAILURE,DELAY")
	errOriginal   = mail.NewReply(501, "5.5.4", "ORCPT wants type;address in xtext")
	errMailUTF8   = mail.NewReply(553, "5.6.7", "sender: this address needs SMTPUTF8")
	errRcptUTF8   = mail.NewReply(553, "5.6.7", "recipient: this address needs SMTPUTF8")
)

func pathRefusals(enhanced, who string) (table [faults]*mail.Reply) {
	for f := noBrackets; f < faults; f++ {
		table[f] = mail.NewReply(501, enhanced, who+faultTexts[f])
	}
	return table
}
