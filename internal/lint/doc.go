// Package lint has no code, only tests that read the code of the others: who
// imports whom, how long functions and files are, what lacks a comment, and
// where state hides. What stands in their lists of exceptions has a reason.
package lint
