package lint

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are those of the architecture. A package imports only packages of
// floors below its own, and the package that it stands in: store/sqlstore
// implements what store says.
var floors = map[string]int{
	"durable": 0,
	"mail":    0,

	"blob":           1,
	"blob/memory":    1,
	"blob/pack":      1,
	"blob/vfs":       1,
	"certs":          1,
	"datadir":        1,
	"journal":        1,
	"link":           1,
	"message":        1,
	"message/coding": 1,
	"message/field":  1,
	"seal":           1,
	"service":        1,
	"settings":       1,
	"terminal":       1,
	"wire/smtp":      1,

	"blob/volume":    2,
	"store":          2,
	"store/audit":    2,
	"store/commit":   2,
	"store/hub":      2,
	"store/record":   2,
	"store/room":     2,
	"store/sqldb":    2,
	"store/sqlstore": 2,
	"store/staged":   2,
	"store/state":    2,
	"store/story":    2,
	"store/tidy":     2,

	"auth":   4,
	"intake": 4,

	"popd":  5,
	"smtpd": 5,

	"control": 6,
	"cli":     7,
	"engine":  7,
	"server":  8,
	"session": 8,
	"setup":   8,

	"bench":         9,
	"cmd/postrider": 9,
}

// testPackages are packages that only tests import; they stand outside the floors.
var testPackages = []string{
	"blob/blobtest", "clients", "golden", "lint", "proof", "store/storetest",
	"trial",
}

// sameFloor are imports within a floor, each with its reason.
var sameFloor = map[string]string{
	"store/audit -> store/commit":    "what is mended goes through the committer",
	"store/audit -> store/sqldb":     "the engine checks its own files",
	"store/audit -> store/tidy":      "a message without a mailbox is removed as any other",
	"store/commit -> store/sqldb":    "the writer's connection and its flushes",
	"store/sqlstore -> store/audit":  "Check is an audit",
	"store/sqlstore -> store/hub":    "what was committed is announced",
	"store/sqlstore -> store/state":  "accounts, domains and settings beside the database",
	"store/sqlstore -> store/story":  "the rows of traces",
	"store/sqlstore -> store/record": "the facts that a delivery leaves in a volume",
	"store/sqlstore -> store/room":   "what may be taken before the disk is full",
	"store/sqlstore -> store/tidy":   "what nothing refers to any more",
	"store/sqlstore -> store/staged": "long lists of changes to accounts",
	"store/staged -> store/commit":   "each step of such a list goes through the committer",
	"store/tidy -> store/commit":     "what is removed goes through the committer",
	"store/sqlstore -> store/commit": "the operations of the store go through the committer",
	"store/sqlstore -> store/sqldb":  "what two engines cannot share",
	"intake -> auth":                 "a visitor has an identity",

	"message -> message/coding":       "bodies are decoded",
	"message -> message/field":        "what the fields of a header say",
	"message/field -> message/coding": "encoded words and parameters are decoded",
}

// modules says which package may use which module that is not ours. A module
// that is not here is a decision to be made, not an import to be added.
var modules = map[string][]string{
	"auth":           {"golang.org/x/crypto", "golang.org/x/net", "golang.org/x/text"},
	"blob/vfs":       {"golang.org/x/sys"},
	"certs":          {"golang.org/x/crypto"},
	"control":        {"golang.org/x/net", "golang.org/x/text"},
	"datadir":        {"golang.org/x/sys"},
	"durable":        {"golang.org/x/sys"},
	"intake":         {"golang.org/x/net"},
	"journal":        {"github.com/prometheus/client_golang"},
	"link":           {"github.com/pires/go-proxyproto", "golang.org/x/sys", "golang.org/x/time"},
	"message/coding": {"golang.org/x/text"},
	"popd":           {"github.com/prometheus/client_golang"},
	"seal":           {"golang.org/x/crypto", "golang.org/x/sys"},
	"server": {"github.com/landlock-lsm/go-landlock", "github.com/prometheus/client_golang",
		"golang.org/x/sys"},
	"service":       {"golang.org/x/sys"},
	"settings":      {"github.com/pelletier/go-toml/v2"},
	"smtpd":         {"github.com/prometheus/client_golang"},
	"store/commit":  {"golang.org/x/sys"},
	"store/sqldb":   {"modernc.org/sqlite"},
	"store/room":    {"golang.org/x/sys"},
	"blob/pack":     {"github.com/klauspost/compress"},
	"terminal":      {"golang.org/x/term"},
	"cmd/postrider": {"golang.org/x/sys"},
}

// testModules are for tests: tools and foreign programs to compare with.
var testModules = []string{
	"github.com/emersion/go-smtp",
	"github.com/emersion/go-sasl",
	"github.com/google/go-cmp",
	"github.com/rogpeppe/go-internal",
	"github.com/xdg-go/scram",
	"github.com/xdg-go/stringprep",
	"pgregory.net/rapid",
}

const module = "postrider/"

func TestImports(t *testing.T) {
	same := newExceptions(sameFloor)
	reported := map[string]bool{}
	fail := func(format, pkg, imported, where string) {
		if edge := pkg + " -> " + imported; !reported[edge] {
			reported[edge] = true
			t.Errorf(format, pkg, imported, where)
		}
	}
	for _, s := range sources(t) {
		_, known := floors[s.pkg]
		isTest := s.test || slices.Contains(testPackages, s.pkg)
		if !known && !isTest {
			fail("package %s has no floor%s (%s)", s.pkg, "", s.path)
			continue
		}
		for _, spec := range s.file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			ours, isOurs := strings.CutPrefix(imported, module)
			switch {
			case isOurs && !isTest:
				ours = strings.TrimPrefix(ours, "internal/")
				if !mayImport(s.pkg, ours) && !same.has(s.pkg+" -> "+ours) {
					fail("%s must not import %s (%s)", s.pkg, ours, s.path)
				}
			case !isOurs && strings.Contains(strings.Split(imported, "/")[0], "."):
				if !mayUse(s.pkg, imported, isTest) {
					fail("%s must not use %s (%s)", s.pkg, imported, s.path)
				}
			}
		}
	}
	same.check(t)
}

func mayImport(pkg, imported string) bool {
	floor, ok := floors[imported]
	return ok && (floor < floors[pkg] || strings.HasPrefix(pkg, imported+"/"))
}

func mayUse(pkg, imported string, isTest bool) bool {
	of := func(m string) bool { return imported == m || strings.HasPrefix(imported, m+"/") }
	return slices.ContainsFunc(modules[pkg], of) ||
		isTest && (slices.ContainsFunc(testModules, of) ||
			strings.HasPrefix(imported, "golang.org/x/"))
}
