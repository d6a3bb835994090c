package settings

// The getters of Values take a key of their own type, so that neither a
// misspelled key nor one of another type compiles. A key's number is its place
// in the table.
type (
	// A BoolKey is a key of type Bool.
	BoolKey int
	// An IntKey is a key of type Int.
	IntKey int
	// A SizeKey is a key of type Size.
	SizeKey int
	// A DurationKey is a key of type Duration.
	DurationKey int
	// A StringKey is a key of type String, Enum or Secret.
	StringKey int
	// A ListKey is a key of type Addresses or Strings.
	ListKey int
	// A PrefixKey is a key of type Prefixes.
	PrefixKey int
)

// The keys. What each is for stands in the table.
const (
	ServerHostname StringKey   = iota // server.hostname
	ServerUser     StringKey   = iota // server.user
	ServerStopTime DurationKey = iota // server.stop_time

	SMTPListen             ListKey     = iota // smtp.listen
	SMTPMaxSize            SizeKey     = iota // smtp.max_size
	SMTPMaxRecipients      IntKey      = iota // smtp.max_recipients
	SMTPMaxHops            IntKey      = iota // smtp.max_hops
	SMTPSessions           IntKey      = iota // smtp.sessions
	SMTPSessionsPerAddress IntKey      = iota // smtp.sessions_per_address
	SMTPCommands           IntKey      = iota // smtp.commands
	SMTPErrors             IntKey      = iota // smtp.errors
	SMTPCommandTimeout     DurationKey = iota // smtp.command_timeout
	SMTPDataTimeout        DurationKey = iota // smtp.data_timeout
	SMTPSessionTime        DurationKey = iota // smtp.session_time
	SMTPProxyFrom          PrefixKey   = iota // smtp.proxy_from
	SMTPOwnAddresses       PrefixKey   = iota // smtp.own_addresses

	SubmissionListen          ListKey = iota // submission.listen
	SubmissionSessionsPerUser IntKey  = iota // submission.sessions_per_user
	SubmissionsListen         ListKey = iota // submissions.listen
	LMTPListen                ListKey = iota // lmtp.listen

	POPListen             ListKey     = iota // pop.listen
	POPSessions           IntKey      = iota // pop.sessions
	POPSessionsPerAddress IntKey      = iota // pop.sessions_per_address
	POPErrors             IntKey      = iota // pop.errors
	POPTimeout            DurationKey = iota // pop.timeout
	POPSessionTime        DurationKey = iota // pop.session_time
	POPLoginDelay         DurationKey = iota // pop.login_delay
	POPExpire             DurationKey = iota // pop.expire
	POPXTNDXmit           BoolKey     = iota // pop.xtnd_xmit
	POPProxyFrom          PrefixKey   = iota // pop.proxy_from
	POPSListen            ListKey     = iota // pops.listen

	LimitsExempt    PrefixKey   = iota // limits.exempt
	LimitsHandshake DurationKey = iota // limits.handshake

	AuthPlaintext   StringKey   = iota // auth.plaintext
	AuthSCRAMSHA1   BoolKey     = iota // auth.scram_sha1
	AuthBinding     BoolKey     = iota // auth.channel_binding
	AuthSCRAMRounds IntKey      = iota // auth.scram_rounds
	AuthCacheTime   DurationKey = iota // auth.cache_time
	AuthDelay       DurationKey = iota // auth.delay
	AuthDelayMax    DurationKey = iota // auth.delay_max
	AuthDelayForget DurationKey = iota // auth.delay_forget

	NamesAllowDots BoolKey = iota // names.allow_dots

	StoreVolumes    ListKey     = iota // store.volumes
	StoreVolumeSize SizeKey     = iota // store.volume_size
	StoreMemory     SizeKey     = iota // store.memory
	QuotaDefault    SizeKey     = iota // quota.default
	TraceKeep       DurationKey = iota // trace.keep
	TraceMaxSize    SizeKey     = iota // trace.max_size

	LogLevel     IntKey      = iota // log.level
	LogLevels    ListKey     = iota // log.levels
	LogFormat    StringKey   = iota // log.format
	LogTarget    StringKey   = iota // log.target
	LogDirectory StringKey   = iota // log.directory
	LogKeep      DurationKey = iota // log.keep

	MetricsListen ListKey   = iota // metrics.listen
	MetricsToken  StringKey = iota // metrics.token

	TLSCertificate ListKey     = iota // tls.certificate
	TLSKey         ListKey     = iota // tls.key
	TLSMinVersion  StringKey   = iota // tls.min_version
	TLSReload      DurationKey = iota // tls.reload

	count = iota
)
