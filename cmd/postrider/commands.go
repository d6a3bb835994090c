package main

import (
	"context"
	"slices"

	"postrider/internal/cli"
	"postrider/internal/control"
)

// newProgram is the command line of Postrider.
func (c *call) newProgram() *cli.Program {
	return &cli.Program{
		Name: "postrider",
		About: "Postrider is a mail server in one program.\n\n" +
			"  postrider serve               run it; the first time it makes all it needs\n" +
			"  postrider setup example.org   make it the server of a domain\n",
		Exit: "Exit status: 0 done, 1 failed, 2 wrong command line, 3 not found,\n" +
			"4 exists already, 5 server or data directory not reachable, 6 damage found.\n",
		Commands:   c.commands(),
		Flags:      c.flags(),
		Everywhere: []string{"data", "json", "quiet", "q"},
		Filled:     []string{"domain", "since", "host", "quota", "config", "data"},
		Values:     completeFlag,
		Shorten:    control.Short,
	}
}

// commands is the table of all commands, in the order of the help.
func (c *call) commands() []cli.Command {
	return slices.Concat(c.serverCommands(), c.setupCommands(), c.accountCommands(),
		c.accountPartCommands(), c.domainCommands(), c.settingsCommands(), c.mailCommands(),
		c.programCommands())
}

func (c *call) serverCommands() []cli.Command {
	return []cli.Command{
		{
			Name: "serve", Max: 0, Flags: []string{"config", "set", "accept-restore"},
			Short: "run the server",
			Long: "It stays in the foreground. The first time it makes the data directory, the " +
				"domain localhost and the account postmaster@localhost, and listens on loopback on " +
				"high ports. SIGTERM and Ctrl-C stop it after the messages under way; SIGHUP has it " +
				"read certificates and settings again.",
			Examples: []string{
				"postrider serve",
				"postrider serve --data /srv/mail --set smtp.listen=127.0.0.1:3025",
			},
			Run: c.serve,
		},
		{
			Name: "status", Max: 0,
			Short: "tell how the server is",
			Long:  "Exit status 5 tells that none runs.",
			Run:   c.status,
		},
		{
			Name: "stop", Max: 0,
			Short: "stop the server",
			Long:  "Messages under way are finished first. The command waits for the end.",
			Run:   c.stop,
		},
		{
			Name: "reload", Max: 0,
			Short: "have the server read certificates and settings again",
			Run:   c.reload,
		},
	}
}

func (c *call) setupCommands() []cli.Command {
	return []cli.Command{
		{
			Name: "setup", Args: "DOMAIN", Min: 1, Max: 1,
			Flags: []string{"host", "address", "user", "no-service", "password-file", "generate"},
			About: map[string]string{"generate": "make a password for postmaster and print it",
				"password-file": "`FILE` take the password of postmaster from the first line of FILE, " +
					"or of standard input if it is -"},
			Short: "make this the server of a domain",
			Long: "It makes the domain the main one, sets the server's name and the standard ports, " +
				"makes the account postmaster, and as root installs the service with a user of its " +
				"own. Then it lists what is still to do. It may be run again.",
			Examples: []string{
				"sudo postrider setup example.org",
				"sudo postrider setup example.org --host mx1.example.org --address 192.0.2.25",
			},
			Run: c.setup,
		},
		{
			Name: "service install", Max: 0, Flags: []string{"user"},
			Short: "have the machine start the server at boot",
			Long: "It writes a unit of systemd, a daemon of launchd, or a service of Windows, with " +
				"no more rights than the server needs. On systemd it runs as the data directory's " +
				"owner, or as --user.",
			Run: c.serviceInstall,
		},
		{
			Name: "service uninstall", Max: 0,
			Short: "stop the service and remove it; the data stays",
			Run:   c.serviceUninstall,
		},
		{
			Name: "service show", Max: 0, Flags: []string{"user"},
			Short: "show what \"service install\" would write",
			Run:   c.serviceShow,
		},
	}
}

// The flags that describe an account.
var accountFlags = []string{"full-name", "quota", "apop", "login", "volume", "notify"}

func (c *call) accountCommands() []cli.Command {
	const address = "A bare name means one in the main domain. "
	passwordFlags := []string{"password-file", "generate"}
	return []cli.Command{
		{
			Name: "account add", Args: "ADDRESS", Min: 1, Max: 1,
			Flags: slices.Concat(passwordFlags, accountFlags),
			Short: "make an account",
			Long: address + "Without --password-file the password is asked for on a terminal; " +
				"elsewhere, or if it is left empty, one is made and printed once.",
			Examples: []string{
				"postrider account add alice@example.org",
				"pass show alice | postrider account add alice@example.org --password-file -",
				"postrider account add bob --full-name \"Bob Example\" --quota 2G --generate",
			},
			Run: c.accountAdd,
		},
		{
			Name: "account list", Max: 0, Flags: []string{"domain"},
			Short: "list accounts",
			Run:   c.accountList,
		},
		{
			Name: "account show", Args: "ADDRESS", Min: 1, Max: 1,
			Short: "show everything about an account",
			Long:  address,
			Run:   c.accountShow,
		},
		{
			Name: "account set", Args: "ADDRESS", Min: 1, Max: 1, Flags: accountFlags,
			Short: "change an account",
			Long:  address + "What no flag names stays as it is.",
			Examples: []string{
				"postrider account set alice --quota 500M --apop allowed",
				"postrider account set alice --login no",
			},
			Run: c.accountSet,
		},
		{
			Name: "account password", Args: "ADDRESS", Min: 1, Max: 1, Flags: passwordFlags,
			Short: "set the password of an account",
			Long: address + "It is taken as with \"account add\". Sessions that are logged in with " +
				"the old one end; app passwords stay.",
			Examples: []string{"postrider account password alice --password-file secret.txt"},
			Run:      c.accountPassword,
		},
		{
			Name: "account disable", Args: "ADDRESS", Min: 1, Max: 1,
			Short: "let an account neither log in nor receive mail",
			Run:   func(ctx context.Context) error { return c.accountEnable(ctx, false) },
		},
		{
			Name: "account enable", Args: "ADDRESS", Min: 1, Max: 1,
			Short: "let a disabled account work again",
			Run:   func(ctx context.Context) error { return c.accountEnable(ctx, true) },
		},
		{
			Name: "account remove", Args: "ADDRESS", Min: 1, Max: 1, Flags: []string{"yes", "y"},
			Short: "remove an account and its mail",
			Long:  "On a terminal it asks first; elsewhere it needs --yes.",
			Run:   c.accountRemove,
		},
	}
}

// accountPartCommands are those for app passwords, and for many accounts.
func (c *call) accountPartCommands() []cli.Command {
	return []cli.Command{
		{
			Name: "account app add", Args: "ADDRESS NAME", Min: 2, Max: 2,
			Short: "make a password for one program or device",
			Long: "The name says which it is. The password is printed once; it logs in wherever a " +
				"password is sent as it is, and can be removed alone.",
			Examples: []string{"postrider account app add alice phone"},
			Run:      c.appAdd,
		},
		{
			Name: "account app list", Args: "ADDRESS", Min: 1, Max: 1,
			Short: "list the app passwords of an account",
			Run:   c.appList,
		},
		{
			Name: "account app remove", Args: "ADDRESS NAME", Min: 2, Max: 2,
			Short: "remove an app password",
			Run:   c.appRemove,
		},
		{
			Name: "account import", Args: "FILE", Min: 1, Max: 1,
			Flags: []string{"dry-run", "domain", "format", "charset"},
			About: map[string]string{"domain": "`NAME` where names without a domain belong; else in the " +
				"main domain"},
			Short: "make and change accounts from a table",
			Long: "The table is that of SIMS Loader: columns separated by TAB, their names in the " +
				"first line: UserName or Account, FullName or RealName, Password, AccountEnabled, " +
				"LoginEnabled, SizeLimit (kilobytes, -1 for none), APOPrequired, NotifyMode, " +
				"NotifyAddress. What is empty or missing stays as it is. With --format eims it is " +
				"an export of EIMS, without a first line. If any line is wrong, nothing is changed.",
			Examples: []string{
				"postrider account import users.tsv --dry-run",
				"postrider account import users.tsv",
			},
			Run: c.accountImport,
		},
		{
			Name: "account export", Max: 0, Flags: []string{"domain"},
			Short:    "write accounts as a table, without passwords",
			Examples: []string{"postrider account export > users.tsv"},
			Run:      c.accountExport,
		},
	}
}

func (c *call) domainCommands() []cli.Command {
	return []cli.Command{
		{
			Name: "domain add", Args: "NAME", Min: 1, Max: 1, Flags: []string{"main"},
			Short: "serve a domain",
			Long:  "The first domain is the main one: that of logins without a domain.",
			Run:   c.domainAdd,
		},
		{
			Name: "domain list", Max: 0,
			Short: "list the domains served here",
			Run:   c.domainList,
		},
		{
			Name: "domain main", Args: "NAME", Min: 1, Max: 1,
			Short: "make a domain the main one",
			Run:   c.domainMain,
		},
		{
			Name: "domain remove", Args: "NAME", Min: 1, Max: 1,
			Short: "serve a domain no longer",
			Long:  "Its accounts must be removed before.",
			Run:   c.domainRemove,
		},
	}
}

// maxSettings bounds the arguments of commands that change settings.
const maxSettings = 1000

func (c *call) settingsCommands() []cli.Command {
	return []cli.Command{
		{
			Name: "settings", Args: "[KEY]", Max: 1, Flags: []string{"config"},
			Short:    "show settings, and where each value comes from",
			Complete: completeKey,
			Run:      c.settingsShow,
		},
		{
			Name: "settings set", Args: "KEY VALUE [KEY VALUE]...", Min: 2, Max: maxSettings,
			Flags: []string{"config"},
			Short: "change settings",
			Long: "Several are changed together or not at all. What the settings file or --set " +
				"fixes is not changed here. Certificates and keys are tried first, and must be " +
				"changed together.",
			Examples: []string{
				"postrider settings set smtp.max_size 100M",
				"postrider settings set smtp.listen \"0.0.0.0:25, [::]:25\"",
				"postrider settings set tls.certificate /etc/mail/fullchain.pem tls.key " +
					"/etc/mail/privkey.pem",
			},
			Complete: completeAssignments,
			Run:      c.settingsSet,
		},
		{
			Name: "settings reset", Args: "KEY...", Min: 1, Max: maxSettings,
			Flags:    []string{"config"},
			Short:    "give settings their defaults again",
			Long:     "Several are reset together or not at all.",
			Complete: completeKeys,
			Run:      c.settingsReset,
		},
		{
			Name: "config export", Max: 0, Flags: []string{"all", "config"},
			About: map[string]string{"all": "also settings that have their default"},
			Short: "write the settings as a file",
			Run:   c.configExport,
		},
		{
			Name: "config apply", Args: "FILE", Min: 1, Max: 1,
			Flags: []string{"replace", "dry-run", "config"},
			Short: "set what a file names",
			Long: "The values go to the database, all or none. With --replace everything that the " +
				"file does not name gets its default again, but secrets: no export has them, so they are " +
				"kept. Keys that are needed before the database is open are passed over; they belong " +
				"into the configuration file.",
			Examples: []string{"postrider config apply site.toml --replace --dry-run"},
			Run:      c.configApply,
		},
		{
			Name: "config default", Max: 0,
			Short: "write a settings file with every key explained",
			Run:   c.configDefault,
		},
	}
}

func (c *call) mailCommands() []cli.Command {
	return []cli.Command{
		{
			Name: "log", Max: 0,
			Flags: []string{"follow", "f", "lines", "all", "level", "component", "config"},
			About: map[string]string{"all": "every record that is kept, not only the last",
				"json": "a JSON object for each record, a line each",
				"component": "`NAME` only records of this part; intake has refused recipients and " +
					"messages"},
			Short: "show the log",
			Long: "It reads the log files in the data directory, and needs no running server. The " +
				"newest record stands last. With --follow it goes on until it is interrupted.",
			Examples: []string{"postrider log -f", "postrider log --level 1 --all | less",
				"postrider log --component intake"},
			Run: c.showLog,
		},
		{
			Name: "log level", Args: "[[COMPONENT] LEVEL]", Max: 2, Flags: []string{"for"},
			Short: "show or change how much the running server logs",
			Long: "Levels are 1 failures, 2 also major events, 3 also problems, 4 also each message " +
				"and session, 5 everything; \"" + settingsLevel + "\" is that of the settings again. " +
				"Without a component the level of all is changed. The change ends by itself; settings " +
				"stay as they are. Exit status 5 tells that no server runs.",
			Examples: []string{"postrider log level", "postrider log level smtp 5 --for 1h",
				"postrider log level settings"},
			Complete: completeLevel,
			Run:      c.logLevel,
		},
		{
			Name: "check", Max: 0, Flags: []string{"repair", "config"},
			Short: "prove that everything stored is sound",
			Long: "Exit status 6 tells that damage was found. --repair mends what can be mended; " +
				"without a running server it also rebuilds a database that is lost or older than " +
				"the volumes, and says what cannot be known any more.",
			Run: c.check,
		},
		{
			Name: "trace", Args: "ID|ADDRESS", Min: 1, Max: 1, Flags: []string{"since", "limit"},
			Short: "tell what happened to a message",
			Long: "An id is that of the Received line or of POP3's UIDL; an address is that of the " +
				"sender or of a recipient; a bare name means one in the main domain. The newest stands " +
				"last, as in the log. Exit status 3 tells that no message has the id; an address " +
				"without mail is no failure.",
			Examples: []string{"postrider trace alice@example.org --since 2h --limit 500 | less"},
			Run:      c.trace,
		},
	}
}

func (c *call) programCommands() []cli.Command {
	return []cli.Command{
		{
			Name: "version", Max: 0,
			Short: "tell which program this is",
			Run:   c.version,
		},
		{
			Name: "completion", Args: "bash|zsh|fish", Min: 1, Max: 1,
			Short: "write the completion of this program for a shell",
			Long: "bash: put it into /etc/bash_completion.d/postrider. zsh: into _postrider in a " +
				"directory of $fpath. fish: into ~/.config/fish/completions/postrider.fish.",
			Examples: []string{"source <(postrider completion bash)"},
			Complete: func(int) []string { return []string{"bash", "zsh", "fish"} },
			Run:      c.completion,
		},
		{
			Name: "help", Args: "[COMMAND]", Max: cli.MaxWords,
			Short: "explain a command",
			// Run is never called: who wants help gets it before.
		},
	}
}
