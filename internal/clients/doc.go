// Package clients proves the built program with the programs of others: mail
// clients, and the shell of a new user. It has tests only.
//
// They start it by way of package trial, make accounts with its command line,
// and look at effects: what one client sent is what another fetches. A test
// whose client is not installed is skipped and says so;
// scripts/install-test-deps installs them on Debian, but for the client of mox,
// a Go module that testdata/mox fetches and builds. All are skipped with
// -short.
package clients
