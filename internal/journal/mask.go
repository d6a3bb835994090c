package journal

import (
	"fmt"
	"log/slog"
	"strings"
)

// mask stands where a secret would.
const mask = "***"

// A Secret is a text that shows itself in no log, no error and no JSON.
// Convert it to a string to use it.
type Secret string

// LogValue gives the mask.
func (Secret) LogValue() slog.Value { return slog.StringValue(mask) }

// String gives the mask.
func (Secret) String() string { return mask }

// Format gives the mask for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(mask)) }

// MarshalText gives the mask.
func (Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// secretWords are parts of names whose values are never written.
var secretWords = []string{"password", "passwd", "passphrase", "secret", "token",
	"authorization", "credential", "cookie", "apikey", "api_key", "private_key", "verifier"}

// isSecret says whether an attribute's name tells that its value is secret.
// It does not allocate for names in lower case.
func isSecret(key string) bool {
	if key == "pass" || key == "response" || key == "digest" {
		return true
	}
	key = strings.ToLower(key)
	for _, w := range secretWords {
		if strings.Contains(key, w) {
			return true
		}
	}
	return false
}
