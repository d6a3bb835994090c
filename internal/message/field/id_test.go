package field

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMessageIDs(t *testing.T) {
	for in, want := range map[string][]string{
		"<a@b> <c@d>": {"a@b", "c@d"}, "<a@b><c@d>": {"a@b", "c@d"}, "a@b c@d": {"a@b", "c@d"},
		"<a@b> , <c@d": {"a@b", "c@d"}, "": nil, "<>": nil, "words only": nil, "<no-at>": {"no-at"},
	} {
		if d := cmp.Diff(want, MessageIDs(in)); d != "" {
			t.Errorf("%s (- want, + got):\n%s", in, d)
		}
	}
}
