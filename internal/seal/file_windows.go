package seal

// checkMode does nothing: the data directory's list of rights decides.
func checkMode(string) error { return nil }
