package durable

// SyncDir does nothing: Windows cannot flush directories, and its file
// system keeps their changes in a journal.
func SyncDir(string) error { return nil }
