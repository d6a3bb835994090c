package field

import (
	"mime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParams(t *testing.T) {
	tests := []struct{ name, in, param, want string }{
		{"plain", "a/b; x=y", "x", "y"},
		{"quoted", `a/b; x="y; z=\"w\""`, "x", `y; z="w"`},
		{"upper case", "a/b; X=Y", "x", "Y"},
		{"none", "a/b; x=y", "z", ""},
		{"first of two", "a/b; x=1; x=2", "x", "1"},
		{"extended", "a/b; x*=utf-8'de'%C3%A4", "x", "ä"},
		{"extended wins", "a/b; x=a; x*=utf-8''%C3%A4", "x", "ä"},
		{"extended latin", "a/b; x*=iso-8859-1''%E4", "x", "ä"},
		{"extended without quotes", "a/b; x*=%41", "x", "A"},
		{"extended bad escapes", "a/b; x*=utf-8''%4%zz%", "x", "%4%zz%"},
		{"extended unknown charset", "a/b; x*=x-y''a%E4", "x", "a\uFFFD"},
		{"continued", "a/b; x*0=a; x*1=b; x*2=c", "x", "abc"},
		{"continued in any order", "a/b; x*1=b; x*0=a", "x", "ab"},
		{"continued with a gap", "a/b; x*0=a; x*2=c", "x", "a"},
		{"continued, mixed", "a/b; x*0*=utf-8''%C3; x*1*=%A4; x*2=%41", "x", "ä%41"},
		{"continued above ten", "a/b; x*0=a; x*1=b; x*2=c; x*3=d; x*4=e; x*5=f; x*6=g; x*7=h;" +
			"x*8=i; x*9=j; x*10=k; x*11=l", "x", "abcdefghijkl"},
		{"only a late piece", "a/b; x*1=b; x=a", "x", "a"},
		{"encoded word", "a/b; x=\"=?utf-8?q?=C3=A4?=\"", "x", "ä"},
		{"8-bit", "a/b; x=\"\xe4\"", "x", "ä"},
		{"longer name", "a/b; xx=1; x=2", "x", "2"},
		{"comments", "a/b (c); (c) x (c) = (c) y (c); z=1", "x", "y"},
		{"missing semicolon", "a/b x=y z=w", "z", "w"},
		{"unclosed quote", `a/b; x="y z; w=1`, "x", "y z"},
		{"no value", "a/b; x; y=1", "y", "1"},
		{"empty value", "a/b; x=; y=1", "y", "1"},
		{"unquoted specials", "a/b; x=c:/d?e=f", "x", "c:/d?e=f"},
		{"blanks, unquoted", "a/b; x=a file.txt; y=1", "x", "a file.txt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := ParseContentType(Unfold(tt.in))
			if got := c.Params.Lookup(tt.param); got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

// TestContentTypeOracle compares with package mime on well formed values.
func TestContentTypeOracle(t *testing.T) {
	name := rapid.StringMatching(`[a-z][a-z0-9-]{0,8}`)
	value := rapid.StringMatching(`[ -~äöü]{0,30}`)
	rapid.Check(t, func(t *rapid.T) {
		params := rapid.MapOfN(name, value, 0, 5).Draw(t, "params")
		in := mime.FormatMediaType("text/x-"+name.Draw(t, "subtype"), params)
		media, want, err := mime.ParseMediaType(in)
		if err != nil {
			t.Skip(err)
		}
		got, ok := ParseContentType(in)
		if !ok || got.Broken || got.Type+"/"+got.Subtype != media {
			t.Fatalf("%s: got %+v", in, got)
		}
		for k, v := range want {
			if g := got.Params.Lookup(k); g != v && !strings.Contains(v, "=?") {
				t.Errorf("%s: %s: got %q, want %q", in, k, g, v)
			}
		}
	})
}
