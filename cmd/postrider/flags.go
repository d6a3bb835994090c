package main

import (
	"flag"
	"strings"
)

// options are the values of all flags; each command allows some of them, so
// that a flag means the same everywhere.
type options struct {
	data          string
	config        string
	set           list
	passwordFile  string
	generate      bool
	fullName      string
	quota         string
	apop          string
	login         string
	volume        int
	notify        string
	domain        string
	format        string
	charset       string
	dryRun        bool
	replace       bool
	all           bool
	repair        bool
	yes           bool
	follow        bool
	since         string
	limit         int
	lines         int
	level         int
	component     string
	during        string
	host          string
	addresses     list
	main          bool
	user          string
	noService     bool
	acceptRestore bool
}

// flags is the set of all flags, bound to c's options.
func (c *call) flags() *flag.FlagSet {
	o := &c.opt
	fs := flag.NewFlagSet("postrider", flag.ContinueOnError)
	fs.StringVar(&o.data, "data", o.data, "`DIR` the data directory; else $POSTRIDER_DATA, "+
		"./postrider-data, or the installed place")
	fs.BoolVar(&c.JSON, "json", c.JSON, "answer in JSON")
	fs.BoolVar(&c.Quiet, "quiet", c.Quiet, "print no progress (also -q)")
	fs.BoolVar(&c.Quiet, "q", c.Quiet, "the same as --quiet")
	fs.StringVar(&o.config, "config", "", "`FILE` settings file; else postrider.toml in the "+
		"data directory")
	fs.Var(&o.set, "set", "`KEY=VALUE` a setting for this run; may be repeated")
	fs.StringVar(&o.passwordFile, "password-file", "", "`FILE` take the password from the first "+
		"line of FILE, or of standard input if it is -")
	fs.BoolVar(&o.generate, "generate", false, "make a password and print it")
	fs.StringVar(&o.fullName, "full-name", "", "`NAME` the owner's name")
	fs.StringVar(&o.quota, "quota", "", "`SIZE` how much mail may be kept, such as 500M, or none")
	fs.StringVar(&o.apop, "apop", "", "`MODE` off, allowed or required")
	fs.StringVar(&o.login, "login", "", "`yes|no` whether the owner may log in")
	fs.IntVar(&o.volume, "volume", 0, "`N` which volume directory keeps the mail; 0 is the first")
	fs.StringVar(&o.notify, "notify", "", "`HOW` none, last-ip or ip:ADDRESS")
	fs.StringVar(&o.domain, "domain", "", "`NAME` only accounts in this domain")
	fs.StringVar(&o.format, "format", "", "`FORM` of the table: sims (default) or eims")
	fs.StringVar(&o.charset, "charset", "", "`NAME` of the table: utf-8 (default), macintosh or latin1")
	fs.BoolVar(&o.dryRun, "dry-run", false, "only tell what would be done")
	fs.BoolVar(&o.replace, "replace", false, "reset what the file does not name")
	fs.BoolVar(&o.all, "all", false, "leave nothing out")
	fs.BoolVar(&o.repair, "repair", false, "mend what can be mended")
	fs.BoolVar(&o.yes, "yes", false, "do not ask (also -y)")
	fs.BoolVar(&o.yes, "y", false, "the same as --yes")
	fs.BoolVar(&o.follow, "follow", false, "go on as records are written (also -f)")
	fs.BoolVar(&o.follow, "f", false, "the same as --follow")
	fs.StringVar(&o.since, "since", "", "`WHEN` only later ones: 2h, 3d, or a date")
	fs.IntVar(&o.limit, "limit", 50, "`N` so many of the newest; 50 if it is left out")
	fs.IntVar(&o.lines, "lines", 50, "`N` so many of the last records; 50 if it is left out")
	fs.IntVar(&o.level, "level", 0, "`N` only records up to level N: 1 failures … 5 everything")
	fs.StringVar(&o.component, "component", "", "`NAME` only records of this part, such as smtp")
	fs.StringVar(&o.during, "for", "", "`TIME` how long, such as 10m, 1h or 2d; else until the "+
		"server ends")
	fs.StringVar(&o.host, "host", "", "`NAME` the server's own name; else mail.DOMAIN")
	fs.Var(&o.addresses, "address", "`IP` under which the server is reached; may be repeated")
	fs.BoolVar(&o.main, "main", false, "make it the main domain")
	fs.StringVar(&o.user, "user", "", "`NAME` the user that the server runs as")
	fs.BoolVar(&o.noService, "no-service", false, "do not install a service")
	fs.BoolVar(&o.acceptRestore, "accept-restore", false,
		"serve a database that is older than its volumes")
	return fs
}

// A list is the value of a flag that may be repeated.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}
