// Package popd is the POP3 server: one maildrop a session, which is the inbox
// of an account.
//
// It implements
//
//	RFC 1939  POP3, with APOP, TOP and UIDL
//	RFC 1460  LAST, which old fetchers use to leave mail on the server
//	RFC 2449  CAPA, response codes, PIPELINING, LOGIN-DELAY, EXPIRE,
//	          IMPLEMENTATION
//	RFC 2595  STLS (section 4)
//	RFC 3206  the response codes SYS/TEMP, SYS/PERM and AUTH
//	RFC 5034  AUTH with SASL, and the AUTH without argument of older clients
//	          (RFC 1734)
//	RFC 6856  UTF8 and LANG. A message is always sent as it is stored; one
//	          with UTF-8 in its header is not downgraded for a client that
//	          did not say UTF8, since it would rather have the message
//	RFC 1082  the verb XTND, with the sub-commands XMIT of the Berkeley popper,
//	          which sends mail, and XLST, which lists a header field
//
// A session is a table of commands (command.go). A handler reads its
// arguments, acts, and returns a reply; only the loop in session.go writes to
// the connection. Messages stream through one pooled buffer.
//
// The maildrop is listed once, at login, and locked by the lease
// "pop/ACCOUNT" until the end of the session. DELE marks in memory; QUIT
// removes all marked messages in one call. A session that ends in any other
// way removes nothing.
package popd
