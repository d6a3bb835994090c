package main

import "slices"

// commands is the table of all commands, in the order of the help.
func commands() []command {
	return slices.Concat(serverCommands(), setupCommands(), accountCommands(), accountPartCommands(),
		domainCommands(), settingsCommands(), mailCommands(), programCommands())
}

// The flags that describe an account.
var accountFlags = []string{"full-name", "quota", "apop", "login", "volume", "notify"}

func accountCommands() []command {
	const address = "A bare name means one in the main domain. "
	passwordFlags := []string{"password-file", "generate"}
	return []command{
		{
			name: "account add", args: "ADDRESS", min: 1, max: 1,
			flags: slices.Concat(passwordFlags, accountFlags),
			short: "make an account",
			long: address + "Without --password-file the password is asked for on a terminal; " +
				"elsewhere, or if it is left empty, one is made and printed once.",
			examples: []string{
				"postrider account add alice@example.org",
				"pass show alice | postrider account add alice@example.org --password-file -",
				"postrider account add bob --full-name \"Bob Example\" --quota 2G --generate",
			},
			run: accountAdd,
		},
		{
			name: "account list", max: 0, flags: []string{"domain"},
			short: "list accounts",
			run:   accountList,
		},
		{
			name: "account show", args: "ADDRESS", min: 1, max: 1,
			short: "show everything about an account",
			long:  address,
			run:   accountShow,
		},
		{
			name: "account set", args: "ADDRESS", min: 1, max: 1, flags: accountFlags,
			short: "change an account",
			long:  address + "What no flag names stays as it is.",
			examples: []string{
				"postrider account set alice --quota 500M --apop allowed",
				"postrider account set alice --login no",
			},
			run: accountSet,
		},
		{
			name: "account password", args: "ADDRESS", min: 1, max: 1, flags: passwordFlags,
			short: "set the password of an account",
			long: address + "It is taken as with \"account add\". Sessions that are logged in with " +
				"the old one end; app passwords stay.",
			examples: []string{"postrider account password alice --password-file secret.txt"},
			run:      accountPassword,
		},
		{
			name: "account disable", args: "ADDRESS", min: 1, max: 1,
			short: "let an account neither log in nor receive mail",
			run:   func(ctx ctx, c *call) error { return accountEnable(ctx, c, false) },
		},
		{
			name: "account enable", args: "ADDRESS", min: 1, max: 1,
			short: "let a disabled account work again",
			run:   func(ctx ctx, c *call) error { return accountEnable(ctx, c, true) },
		},
		{
			name: "account remove", args: "ADDRESS", min: 1, max: 1, flags: []string{"yes", "y"},
			short: "remove an account and its mail",
			long:  "On a terminal it asks first; elsewhere it needs --yes.",
			run:   accountRemove,
		},
	}
}

// accountPartCommands are those for app passwords, and for many accounts.
func accountPartCommands() []command {
	return []command{
		{
			name: "account app add", args: "ADDRESS NAME", min: 2, max: 2,
			short: "make a password for one program or device",
			long: "The name says which it is. The password is printed once; it logs in wherever a " +
				"password is sent as it is, and can be removed alone.",
			examples: []string{"postrider account app add alice phone"},
			run:      appAdd,
		},
		{
			name: "account app list", args: "ADDRESS", min: 1, max: 1,
			short: "list the app passwords of an account",
			run:   appList,
		},
		{
			name: "account app remove", args: "ADDRESS NAME", min: 2, max: 2,
			short: "remove an app password",
			run:   appRemove,
		},
		{
			name: "account import", args: "FILE", min: 1, max: 1,
			flags: []string{"dry-run", "domain", "format"},
			about: map[string]string{"domain": "`NAME` where names without a domain belong; else in the " +
				"main domain"},
			short: "make and change accounts from a table",
			long: "The table is that of SIMS Loader: columns separated by TAB, their names in the " +
				"first line: UserName or Account, FullName or RealName, Password, AccountEnabled, " +
				"LoginEnabled, SizeLimit (kilobytes, -1 for none), APOPrequired, NotifyMode, " +
				"NotifyAddress. What is empty or missing stays as it is. With --format eims it is " +
				"an export of EIMS, without a first line. If any line is wrong, nothing is changed.",
			examples: []string{
				"postrider account import users.tsv --dry-run",
				"postrider account import users.tsv",
			},
			run: accountImport,
		},
		{
			name: "account export", max: 0, flags: []string{"domain"},
			short:    "write accounts as a table, without passwords",
			examples: []string{"postrider account export > users.tsv"},
			run:      accountExport,
		},
	}
}

func domainCommands() []command {
	return []command{
		{
			name: "domain add", args: "NAME", min: 1, max: 1, flags: []string{"main"},
			short: "serve a domain",
			long:  "The first domain is the main one: that of logins without a domain.",
			run:   domainAdd,
		},
		{
			name: "domain list", max: 0,
			short: "list the domains served here",
			run:   domainList,
		},
		{
			name: "domain main", args: "NAME", min: 1, max: 1,
			short: "make a domain the main one",
			run:   domainMain,
		},
		{
			name: "domain remove", args: "NAME", min: 1, max: 1,
			short: "serve a domain no longer",
			long:  "Its accounts must be removed before.",
			run:   domainRemove,
		},
	}
}

// maxSettings bounds the arguments of commands that change settings.
const maxSettings = 1000

func settingsCommands() []command {
	return []command{
		{
			name: "settings", args: "[KEY]", max: 1, flags: []string{"config"},
			short: "show settings, and where each value comes from",
			run:   settingsShow,
		},
		{
			name: "settings set", args: "KEY VALUE [KEY VALUE]...", min: 2, max: maxSettings,
			flags: []string{"config"},
			short: "change settings",
			long: "Several are changed together or not at all. What the settings file or --set " +
				"fixes is not changed here. Certificates and keys are tried first, and must be " +
				"changed together.",
			examples: []string{
				"postrider settings set smtp.max_size 100M",
				"postrider settings set smtp.listen \"0.0.0.0:25, [::]:25\"",
				"postrider settings set tls.certificate /etc/mail/fullchain.pem tls.key " +
					"/etc/mail/privkey.pem",
			},
			run: settingsSet,
		},
		{
			name: "settings reset", args: "KEY...", min: 1, max: maxSettings,
			flags: []string{"config"},
			short: "give settings their defaults again",
			long:  "Several are reset together or not at all.",
			run:   settingsReset,
		},
		{
			name: "config export", max: 0, flags: []string{"all", "config"},
			about: map[string]string{"all": "also settings that have their default"},
			short: "write the settings as a file",
			run:   configExport,
		},
		{
			name: "config apply", args: "FILE", min: 1, max: 1,
			flags: []string{"replace", "dry-run", "config"},
			short: "set what a file names",
			long: "The values go to the database, all or none. With --replace everything that the " +
				"file does not name gets its default again.",
			examples: []string{"postrider config apply site.toml --replace --dry-run"},
			run:      configApply,
		},
		{
			name: "config default", max: 0,
			short: "write a settings file with every key explained",
			run:   configDefault,
		},
	}
}

func mailCommands() []command {
	return []command{
		{
			name: "log", max: 0,
			flags: []string{"follow", "f", "lines", "all", "level", "component", "config"},
			about: map[string]string{"all": "every record that is kept, not only the last",
				"json": "a JSON object for each record, a line each",
				"component": "`NAME` only records of this part; intake has refused recipients and " +
					"messages"},
			short: "show the log",
			long: "It reads the log files in the data directory, and needs no running server. The " +
				"newest record stands last. With --follow it goes on until it is interrupted.",
			examples: []string{"postrider log -f", "postrider log --level 1 --all | less",
				"postrider log --component intake"},
			run: showLog,
		},
		{
			name: "log level", args: "[[COMPONENT] LEVEL]", max: 2, flags: []string{"for"},
			short: "show or change how much the running server logs",
			long: "Levels are 1 failures, 2 also major events, 3 also problems, 4 also each message " +
				"and session, 5 everything; \"" + settingsLevel + "\" is that of the settings again. " +
				"Without a component the level of all is changed. The change ends by itself; settings " +
				"stay as they are. Exit status 5 tells that no server runs.",
			examples: []string{"postrider log level", "postrider log level smtp 5 --for 1h",
				"postrider log level settings"},
			run: logLevel,
		},
		{
			name: "check", max: 0, flags: []string{"repair", "config"},
			short: "prove that everything stored is sound",
			long: "Exit status 6 tells that damage was found. --repair mends what can be mended; " +
				"without a running server it also rebuilds a database that is lost or older than " +
				"the volumes, and says what cannot be known any more.",
			run: check,
		},
		{
			name: "trace", args: "ID|ADDRESS", min: 1, max: 1, flags: []string{"since", "limit"},
			short: "tell what happened to a message",
			long: "An id is that of the Received line or of POP3's UIDL; an address is that of the " +
				"sender or of a recipient. The newest stands last, as in the log.",
			examples: []string{"postrider trace alice@example.org --since 2h --limit 500 | less"},
			run:      trace,
		},
	}
}
