package service

import (
	"encoding/xml"
	"strings"
)

// unit is the unit of systemd. The server runs as its own user, may open the
// low ports and nothing else that only root may, and writes nothing but its
// data directory.
func unit(c Config) string {
	writes := ""
	for _, path := range append([]string{c.Data}, c.Writes...) {
		writes += " " + systemdQuote(path)
	}
	user := ""
	if c.User != "" {
		user = "User=" + c.User + "\nGroup=" + c.User + "\n"
	}
	return `[Unit]
Description=Postrider mail server
After=network-online.target nss-lookup.target time-sync.target
Wants=network-online.target
RequiresMountsFor=` + strings.TrimSpace(writes) + `

[Service]
Type=notify
ExecStart=` + systemdArgument(c.Program) + ` serve --data ` + systemdArgument(c.Data) + `
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
TimeoutStartSec=300
TimeoutStopSec=120
LimitNOFILE=131072
` + user + `UMask=0077

# Low ports are all that it needs of root.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes

# It writes its data and nothing else.
ProtectSystem=strict
ReadWritePaths=` + strings.TrimSpace(writes) + `
ProtectHome=` + protectHome(c.Data) + `
PrivateTmp=` + privateTmp(c.Data) + `
PrivateDevices=yes
DevicePolicy=closed

# The rest of the machine is none of its business.
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`
}

// protectHome hides the homes of users unless the data lies in one.
func protectHome(data string) string {
	for _, home := range []string{"/home/", "/root/", "/run/user/"} {
		if strings.HasPrefix(data, home) {
			return "read-only"
		}
	}
	return "yes"
}

// maxSocketPath: with a longer path of the data directory the control socket
// lies in the temporary directory, where commands must find it.
const maxSocketPath = 103 - len("/control.sock")

func privateTmp(data string) string {
	if len(data) > maxSocketPath {
		return "no"
	}
	return "yes"
}

// systemdArgument is systemdQuote for a command line, where $ begins a
// variable (systemd.service(5)).
func systemdArgument(s string) string {
	return systemdQuote(strings.ReplaceAll(s, "$", "$$"))
}

// systemdQuote writes a path as systemd.unit(5) reads it: % begins a
// specifier.
func systemdQuote(s string) string {
	s = strings.NewReplacer(`%`, `%%`, `\`, `\\`, `"`, `\"`).Replace(s)
	if strings.ContainsAny(s, " \t'\"\\;") {
		return `"` + s + `"`
	}
	return s
}

// plist is the daemon of launchd. It has no UserName: macOS gives low ports to
// everybody only where all addresses are listened on, so that the server has
// to begin as root, bind, and become its user itself.
func plist(c Config) string {
	user := ""
	if c.User != "" {
		user = "\t\t<string>--set</string>\n" +
			"\t\t<string>server.user=" + xmlText(c.User) + "</string>\n"
	}
	return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" ` +
		`"http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>` + plistName + `</string>
	<key>ProgramArguments</key>
	<array>
		<string>` + xmlText(c.Program) + `</string>
		<string>serve</string>
		<string>--data</string>
		<string>` + xmlText(c.Data) + `</string>
` + user + `	</array>
	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<dict>
		<key>SuccessfulExit</key>
		<false/>
	</dict>
	<key>Umask</key>
	<integer>63</integer>
	<key>ExitTimeOut</key>
	<integer>120</integer>
	<key>SoftResourceLimits</key>
	<dict>
		<key>NumberOfFiles</key>
		<integer>65536</integer>
	</dict>
	<key>ProcessType</key>
	<string>Interactive</string>
	<key>StandardErrorPath</key>
	<string>/Library/Logs/Postrider.log</string>
</dict>
</plist>
`
}

func xmlText(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // a Builder never fails
	return b.String()
}

// windowsQuote puts a path between quotes, as CommandLineToArgvW reads them;
// a path has no quotes of its own there.
func windowsQuote(s string) string { return `"` + strings.TrimSuffix(s, `\`) + `"` }
