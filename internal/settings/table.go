package settings

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// table holds every key of Postrider under its number. Sections stand
// together, in the order of the reference manual.
var table = [count]Key{
	ServerHostname: {Name: "server.hostname", Type: String, Scope: Node, Restart: true,
		Item: checkHost,
		Help: "The name this server gives itself in greetings, Received lines and its own " +
			"certificate. Empty means the name of the machine."},
	ServerUser: {Name: "server.user", Type: String, Scope: Node, Restart: true, Boot: true,
		Help: "The user to become when started as root, after the listeners are open. Empty " +
			"means the owner of the data directory; if that is root, the server stays root and says so. " +
			"A server that was not started as root stays who it is."},
	ServerStopTime: {Name: "server.stop_time", Type: Duration, Default: "30s",
		Min: int64(time.Second), Max: int64(time.Hour),
		Help: "How long a stopping server waits for messages under way before it cuts them off."},

	SMTPListen: {Name: "smtp.listen", Type: Addresses, Default: "127.0.0.1:2525", Scope: Node,
		Restart: true,
		Help:    "Where mail from other servers is received. The standard port is 25."},
	SMTPMaxSize: {Name: "smtp.max_size", Type: Size, Default: "64M", Zero: "none",
		Min: 64 << 10, Max: 1 << 40,
		Help: "The largest message that is accepted, by every door. It is announced with SIZE."},
	SMTPMaxRecipients: {Name: "smtp.max_recipients", Type: Int, Default: "1000",
		Min: 100, Max: 100_000,
		Help: "Recipients of one message, by every door. RFC 5321 wants at least 100."},
	SMTPMaxHops: {Name: "smtp.max_hops", Type: Int, Default: "50", Min: 5, Max: 1000,
		Help: "Received lines that a message may carry; one with more runs in a circle and is " +
			"refused."},
	SMTPSessions: {Name: "smtp.sessions", Type: Int, Default: "20000", Zero: "none",
		Min: 1, Max: 1_000_000,
		Help: "Connections at a time for each of SMTP, submission, submissions and LMTP. " +
			"The limit of open files of the process bounds them as well."},
	SMTPSessionsPerAddress: {Name: "smtp.sessions_per_address", Type: Int, Default: "100",
		Zero: "none", Min: 1, Max: 1_000_000,
		Help: "Connections at a time from one address (IPv6: one /64 network). Networks in " +
			"limits.exempt are not counted."},
	SMTPCommands: {Name: "smtp.commands", Type: Int, Default: "1000000", Zero: "none",
		Min: 200, Max: 1_000_000_000,
		Help: "Commands that a client may send in one session."},
	SMTPErrors: {Name: "smtp.errors", Type: Int, Default: "50", Zero: "none",
		Min: 3, Max: 10_000,
		Help: "Refusals, of wrong commands as well as of recipients, after which a session is " +
			"closed."},
	SMTPCommandTimeout: {Name: "smtp.command_timeout", Type: Duration, Default: "5m",
		Min: int64(time.Second), Max: int64(24 * time.Hour),
		Help: "How long the next byte of a command may take to come; the whole command may take " +
			"three times that. RFC 5321 wants at least five minutes."},
	SMTPDataTimeout: {Name: "smtp.data_timeout", Type: Duration, Default: "5m",
		Min: int64(time.Second), Max: int64(24 * time.Hour),
		Help: "How long the next bytes of a message may take to come. A slow sender that goes " +
			"on sending is not cut off before smtp.session_time, and one that sends 1 kB a " +
			"second not at all."},
	SMTPSessionTime: {Name: "smtp.session_time", Type: Duration, Default: "2h", Zero: "none",
		Min: int64(time.Minute), Max: int64(7 * 24 * time.Hour),
		Help: "How long one session may last in all. A message that is coming then may still " +
			"come to its end, as long as each minute brings 60 kB of it."},
	SMTPProxyFrom: {Name: "smtp.proxy_from", Type: Prefixes,
		Help: "Load balancers that put a PROXY protocol header (version 1 or 2) before each " +
			"connection to the SMTP, submission and LMTP listeners. From them it is demanded, " +
			"from nobody else is it read."},
	SMTPOwnAddresses: {Name: "smtp.own_addresses", Type: Prefixes, Scope: Node,
		Help: "Addresses of this server besides that of the connection, such as the public one " +
			"before a NAT: mail for ann@[192.0.2.1] is then mail for ann of the main domain. " +
			"127.0.0.0/8 and ::1 are always its own."},

	SubmissionListen: {Name: "submission.listen", Type: Addresses, Default: "127.0.0.1:2587",
		Scope: Node, Restart: true,
		Help: "Where users hand in their mail, with STARTTLS. The standard port is 587."},
	SubmissionSessionsPerUser: {Name: "submission.sessions_per_user", Type: Int, Default: "50",
		Zero: "none", Min: 1, Max: 1_000_000,
		Help: "Sending connections that one user may have at a time."},
	SubmissionsListen: {Name: "submissions.listen", Type: Addresses, Default: "127.0.0.1:2465",
		Scope: Node, Restart: true,
		Help: "Where users hand in their mail, with TLS from the first byte. The standard port " +
			"is 465."},
	LMTPListen: {Name: "lmtp.listen", Type: Addresses, Scope: Node, Restart: true,
		Help: "Where another mail server of yours hands over mail for local mailboxes by LMTP. " +
			"Its peers are trusted: use a Unix socket or loopback."},

	POPListen: {Name: "pop.listen", Type: Addresses, Default: "127.0.0.1:2110", Scope: Node,
		Restart: true,
		Help:    "Where mail is fetched by POP3, with STLS. The standard port is 110."},
	POPSessions: {Name: "pop.sessions", Type: Int, Default: "20000", Zero: "none",
		Min: 1, Max: 1_000_000,
		Help: "Connections at a time for each of POP3 and POP3 over TLS."},
	POPSessionsPerAddress: {Name: "pop.sessions_per_address", Type: Int, Default: "100",
		Zero: "none", Min: 1, Max: 1_000_000,
		Help: "Connections at a time from one address (IPv6: one /64 network). Networks in " +
			"limits.exempt are not counted."},
	POPErrors: {Name: "pop.errors", Type: Int, Default: "20", Zero: "none", Min: 3, Max: 10_000,
		Help: "Wrong commands and failed logins after which a session is closed."},
	POPTimeout: {Name: "pop.timeout", Type: Duration, Default: "10m",
		Min: int64(time.Second), Max: int64(24 * time.Hour),
		Help: "How long a silent session is kept; a command may take three times that if it " +
			"comes byte by byte. RFC 1939 wants at least ten minutes. " +
			"Messages marked for deletion are kept when it ends this way."},
	POPSessionTime: {Name: "pop.session_time", Type: Duration, Default: "1d", Zero: "none",
		Min: int64(time.Minute), Max: int64(30 * 24 * time.Hour),
		Help: "How long one session may last in all."},
	POPLoginDelay: {Name: "pop.login_delay", Type: Duration, Default: "none", Zero: "none",
		Min: int64(time.Second), Max: int64(time.Hour),
		Help: "How long a user must wait between two logins; an earlier one is refused with " +
			"LOGIN-DELAY."},
	POPExpire: {Name: "pop.expire", Type: Duration, Default: "never", Zero: "never",
		Min: int64(24 * time.Hour), Max: int64(36500 * 24 * time.Hour),
		Help: "After how many days your rules have users' mail removed, as POP3 clients are told " +
			"by EXPIRE. It is told only: the server itself removes no mail, so EXPIRE 0 " +
			"(gone after the session) is never announced."},
	POPXTNDXmit: {Name: "pop.xtnd_xmit", Type: Bool, Default: "true",
		Help: "Whether users may send mail through their POP3 session with XTND XMIT."},
	POPProxyFrom: {Name: "pop.proxy_from", Type: Prefixes,
		Help: "Load balancers that put a PROXY protocol header before each POP3 connection."},
	POPSListen: {Name: "pops.listen", Type: Addresses, Default: "127.0.0.1:2995", Scope: Node,
		Restart: true,
		Help: "Where mail is fetched by POP3 with TLS from the first byte. The standard port is " +
			"995."},

	LimitsExempt: {Name: "limits.exempt", Type: Prefixes, Default: "127.0.0.0/8, ::1",
		Help: "Networks that the limits per address do not count. Wrong passwords for one account " +
			"are slowed down from there as well."},
	LimitsHandshake: {Name: "limits.handshake", Type: Duration, Default: "30s",
		Min: int64(time.Second), Max: int64(10 * time.Minute),
		Help: "How long a TLS handshake or a PROXY header may take."},

	AuthPlaintext: {Name: "auth.plaintext", Type: Enum, Default: "loopback",
		Choices: []string{"loopback", "never", "always"},
		Help: "Where a password may be sent without TLS: from this machine only, nowhere, or " +
			"from everywhere."},
	AuthSCRAMSHA1: {Name: "auth.scram_sha1", Type: Bool, Default: "false",
		Help: "Whether keys for SCRAM-SHA-1 are kept, for old clients. They are made when a " +
			"password is set, so it counts for passwords set afterwards."},
	AuthBinding: {Name: "auth.channel_binding", Type: Bool, Default: "true",
		Help: "Whether logins over TLS may be bound to it (the SCRAM mechanisms that end in -PLUS), " +
			"so that nobody in between can pass them on. Some clients choose such a mechanism " +
			"and cannot do it, as mutt 2.2 with GNU SASL: then false helps them."},
	AuthSCRAMRounds: {Name: "auth.scram_rounds", Type: Int, Default: "20000",
		Min: 20_000, Max: 10_000_000,
		Help: "Rounds of the hash in SCRAM keys, for passwords set afterwards. More slows down " +
			"those who steal the database, and every client at login."},
	AuthCacheTime: {Name: "auth.cache_time", Type: Duration, Default: "10m", Zero: "none",
		Min: int64(time.Second), Max: int64(24 * time.Hour),
		Help: "How long a verified password is remembered in memory, as a keyed digest, so that " +
			"clients that come often cost little. A changed password ends it at once."},
	AuthDelay: {Name: "auth.delay", Type: Duration, Default: "1s", Zero: "none",
		Min: int64(time.Millisecond), Max: int64(time.Minute),
		Help: "How long the answer to the second wrong password in a row for an account at an " +
			"address waits; it doubles with each further one. The first is answered at once. Over " +
			"all accounts of an address not in limits.exempt, or all addresses of an account, it " +
			"begins with the 21st."},
	AuthDelayMax: {Name: "auth.delay_max", Type: Duration, Default: "30s",
		Min: int64(time.Millisecond), Max: int64(10 * time.Minute),
		Help: "The longest that the answer to a login waits because of wrong passwords."},
	AuthDelayForget: {Name: "auth.delay_forget", Type: Duration, Default: "15m",
		Min: int64(time.Second), Max: int64(24 * time.Hour),
		Help: "How long after the last wrong password the delay starts anew."},

	NamesAllowDots: {Name: "names.allow_dots", Type: Bool, Default: "true",
		Help: "Whether new account names may contain points."},

	StoreVolumes: {Name: "store.volumes", Type: Strings, Default: "volumes", Scope: Node,
		Restart: true, Boot: true,
		Help: "Directories for the bodies of messages, one for each disk. A path that is not " +
			"absolute lies in the data directory. The first one is the default; append only, " +
			"because accounts are bound to a place in this list."},
	StoreVolumeSize: {Name: "store.volume_size", Type: Size, Default: "1G", Scope: Node,
		Restart: true, Boot: true, Min: 1 << 20, Max: 1 << 40,
		Help: "The size at which a volume file is ended and the next one begun."},
	StoreMemory: {Name: "store.memory", Type: Size, Default: "64M", Scope: Node,
		Restart: true, Boot: true, Min: 1 << 20, Max: 1 << 40,
		Help: "Memory for messages that are coming in, all sessions together. When it is used " +
			"up, new ones wait."},
	QuotaDefault: {Name: "quota.default", Type: Size, Default: "none", Zero: "none",
		Min: 1 << 10, Max: 1 << 50,
		Help: "How much mail a new account may keep, unless it is given a quota of its own."},
	TraceKeep: {Name: "trace.keep", Type: Duration, Default: "30d", Zero: "forever",
		Min: int64(time.Hour), Max: int64(36500 * 24 * time.Hour),
		Help: "How long the story of each message is kept for the trace command."},
	TraceMaxSize: {Name: "trace.max_size", Type: Size, Default: "256M", Zero: "none",
		Min: 1 << 20, Max: 1 << 50,
		Help: "How much is kept of the stories of messages, all together: when it is more, the " +
			"oldest are removed. A usual one takes less than 400 bytes."},

	LogLevel: {Name: "log.level", Type: Int, Default: "3", Min: 1, Max: 5,
		Help: "How much is logged: 1 failures, 2 also major events, 3 also problems, 4 also " +
			"what happens in between, 5 everything."},
	LogLevels: {Name: "log.levels", Type: Strings, Item: checkLevel,
		Help: "Levels of single components that differ from log.level, as in smtp=4, pop=5."},
	LogFormat: {Name: "log.format", Type: Enum, Default: "text", Choices: []string{"text", "json"},
		Scope: Node, Restart: true, Boot: true,
		Help: "The form of log records."},
	LogTarget: {Name: "log.target", Type: Enum, Default: "files",
		Choices: []string{"files", "journald", "stderr"}, Scope: Node, Restart: true, Boot: true,
		Help: "Where log records go: a file for each day, the systemd journal, or standard error."},
	LogDirectory: {Name: "log.directory", Type: String, Default: "log", Scope: Node,
		Restart: true, Boot: true,
		Help: "The directory of the log files. A path that is not absolute lies in the data " +
			"directory."},
	LogKeep: {Name: "log.keep", Type: Duration, Default: "30d", Zero: "forever",
		Min: int64(24 * time.Hour), Max: int64(36500 * 24 * time.Hour),
		Help: "How long log files are kept."},

	MetricsListen: {Name: "metrics.listen", Type: Addresses, Scope: Node, Restart: true,
		Help: "Where Prometheus finds the metrics, at /metrics by HTTP."},
	MetricsToken: {Name: "metrics.token", Type: Secret,
		Help: "The bearer token that metrics are given for. Empty: everybody who reaches the " +
			"listener."},

	TLSCertificate: {Name: "tls.certificate", Type: Strings, Scope: Node,
		Help: "Certificate files (PEM, with their chain), the default one first. Empty: a " +
			"certificate that the server makes itself. A path that is not absolute lies in the " +
			"data directory."},
	TLSKey: {Name: "tls.key", Type: Strings, Scope: Node,
		Help: "The private keys of tls.certificate, in the same order."},
	TLSMinVersion: {Name: "tls.min_version", Type: Enum, Default: "1.2",
		Choices: []string{"1.2", "1.3"},
		Help:    "The oldest TLS version that is spoken."},
	TLSReload: {Name: "tls.reload", Type: Duration, Default: "1h", Zero: "never",
		Min: int64(time.Minute), Max: int64(7 * 24 * time.Hour),
		Help: "How often the server looks whether certificate files have changed. A reload " +
			"looks at once."},
}

// checkHost says what is wrong with a host name.
func checkHost(s string) string {
	if len(s) > 253 {
		return "is longer than 253 characters"
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "is not a host name"
		}
		for i := range len(label) {
			c := label[i] | 0x20
			if !('a' <= c && c <= 'z' || '0' <= label[i] && label[i] <= '9' || label[i] == '-') {
				return "is not a host name in its ASCII form"
			}
		}
	}
	return ""
}

// checkLevel says what is wrong with an item of log.levels.
func checkLevel(s string) string {
	name, level, ok := strings.Cut(s, "=")
	n, err := strconv.Atoi(level)
	if !ok || name == "" || err != nil || n < 1 || n > 5 {
		return "is not component=level with a level from 1 to 5"
	}
	if all := LogComponents(); !slices.Contains(all, name) {
		return "is no component; there are " + strings.Join(all, " ")
	}
	return ""
}

// LogComponents names the parts of the server that log, by name.
func LogComponents() []string {
	return []string{"auth", "control", "intake", "lmtp", "log", "metrics", "pop", "pops", "server",
		"settings", "smtp", "store", "submission", "submissions", "tls"}
}
