// Package proof proves the promise on the built program: what a 250 or a +OK
// confirmed survives, and is there exactly once.
//
// Its tests work on it from outside, by way of package trial, through SMTP,
// POP3 and the command line:
//
//   - kill: the server is killed with SIGKILL at random moments under load,
//     and started again.
//   - order: strace sees that no reply is written before the flush of every
//     file that holds the message.
//   - power cut: from a recording of all writes and flushes the directory is
//     made as a power cut would leave it, and looked at.
//   - faults: writes and flushes of the running server fail, by strace.
//   - rebuild: the database is deleted and made again from the volumes.
//   - full disk: small disks of two kinds are filled (by root only).
//   - slow peers: 200 connections beside some that send a byte a second.
//
// The tests that need strace are skipped without it, and say so.
//
// A 250 that was confirmed and is not there, or is there twice, is a failure.
// A message whose reply was never heard may be there once (RFC 1047); such
// messages are counted apart. Each checker has a test in which a flush is
// taken away and which fails if the checker finds nothing.
//
// The environment makes a run longer or repeats it:
//
//	PROOF_KILLS    kills of the crash test (10)
//	PROOF_CUTS     power cuts that are tried of one recording (40)
//	PROOF_LOAD     seconds of each measurement beside slow peers (4)
//	PROOF_SEED     begins the random numbers; every test logs its own
//	PROOF_PROGRAM  a built program, instead of the one in this tree
package proof
