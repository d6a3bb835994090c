package datadir

// unixSockets: only Windows 10 of 2018 and later have Unix sockets.
const unixSockets = false

// Become does nothing on Windows: rights follow the directory's access list.
func Become(string) error { return nil }

// Owner is empty on Windows.
func Owner(string) string { return "" }

// Give does nothing on Windows.
func Give(string, string) error { return nil }

// exposed is never so on Windows: the directory's list of rights decides.
func exposed(string) (bool, error) { return false, nil }
