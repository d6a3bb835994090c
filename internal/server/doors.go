package server

import (
	"net"
	"net/netip"

	"postrider/internal/intake"
	"postrider/internal/link"
	"postrider/internal/popd"
	"postrider/internal/settings"
	"postrider/internal/smtpd"
	"postrider/internal/wire/smtp"
)

// A door is one listen key with the protocol behind it.
type door struct {
	name      string // of the service: "smtp", "pops"…
	listen    settings.ListKey
	implicit  bool // TLS from the first byte
	pop       bool // its limits are those of POP
	handler   link.Handler
	refuse    func(*link.Conn, link.Refusal)
	link      *link.Server
	listeners []net.Listener
}

// buildDoors makes the protocol servers and their links. Limits are read
// from the settings whenever they are used, so that a change takes effect at
// once.
func (s *Server) buildDoors() {
	hall := intake.New(intake.Config{Store: s.Store, Hostname: s.Hostname, Log: s.logger("intake"),
		Limits: s.hallLimits, Own: func(a netip.Addr) bool {
			return s.Settings.Current().Contains(settings.SMTPOwnAddresses, a)
		}})
	metrics := smtpd.NewMetrics(s.metrics)
	build := func(mode smtpd.Mode) *smtpd.Server {
		srv := smtpd.New(smtpd.Config{Mode: mode, Hostname: s.Hostname(), Hall: hall, Auth: s.auth,
			Limits: s.smtpLimits(), Log: s.logger(mode.String()), Metrics: metrics})
		s.onChange("", func() { srv.SetLimits(s.smtpLimits()) })
		return srv
	}
	submission := build(smtpd.Submission)
	pop := popd.New(popd.Config{Store: s.Store, Auth: s.auth, Composer: hall, Host: s.Hostname(),
		Limits: s.popLimits(), Metrics: s.metrics, Log: s.logger("pop")})
	s.onChange("", func() { pop.SetLimits(s.popLimits()) })
	mx, lmtp := build(smtpd.SMTP), build(smtpd.LMTP)
	s.doors = []*door{
		{name: "smtp", listen: settings.SMTPListen, handler: mx, refuse: mx.Refuse},
		{name: "submission", listen: settings.SubmissionListen, handler: submission,
			refuse: submission.Refuse},
		{name: "submissions", listen: settings.SubmissionsListen, handler: submission,
			refuse: submission.Refuse, implicit: true},
		{name: "lmtp", listen: settings.LMTPListen, handler: lmtp, refuse: lmtp.Refuse},
		{name: "pop", listen: settings.POPListen, handler: pop, refuse: pop.Refuse, pop: true},
		{name: "pops", listen: settings.POPSListen, handler: pop, refuse: pop.Refuse, pop: true,
			implicit: true},
	}
	for _, d := range s.doors {
		s.buildLink(d)
	}
	s.metrics.MustRegister(s.journal, newDoorMetrics(s.doors))
}

func (s *Server) buildLink(d *door) {
	limits, proxy := s.smtpLink, settings.SMTPProxyFrom
	if d.pop {
		limits, proxy = s.popLink, settings.POPProxyFrom
	}
	d.link = link.New(link.Config{Name: d.name, Handler: d.handler, Limits: limits,
		TLS: s.certs.Config, Implicit: d.implicit, Refuse: d.refuse,
		Exempt: func(a netip.Addr) bool {
			return s.Settings.Current().Contains(settings.LimitsExempt, a)
		},
		Proxy: func(a netip.Addr) bool { return s.Settings.Current().Contains(proxy, a) },
		Log:   s.logger(d.name)})
}

func (s *Server) hallLimits() intake.Limits {
	v := s.Settings.Current()
	return intake.Limits{Size: v.Size(settings.SMTPMaxSize),
		Recipients: v.Int(settings.SMTPMaxRecipients), Hops: v.Int(settings.SMTPMaxHops)}
}

func (s *Server) smtpLimits() smtpd.Limits {
	v := s.Settings.Current()
	l := smtpd.DefaultLimits()
	l.MessageSize = v.Size(settings.SMTPMaxSize)
	l.Recipients = v.Int(settings.SMTPMaxRecipients)
	l.Commands = v.Int(settings.SMTPCommands)
	l.Errors = v.Int(settings.SMTPErrors)
	l.SessionsPerUser = v.Int(settings.SubmissionSessionsPerUser)
	return l
}

func (s *Server) popLimits() popd.Limits {
	v := s.Settings.Current()
	return popd.Limits{BadCommands: v.Int(settings.POPErrors),
		LoginDelay: v.Duration(settings.POPLoginDelay), Expire: v.Duration(settings.POPExpire),
		NoXMIT: !v.Bool(settings.POPXTNDXmit)}
}

func (s *Server) smtpLink() link.Limits {
	v := s.Settings.Current()
	return link.Limits{
		Sessions: v.Int(settings.SMTPSessions), PerAddress: v.Int(settings.SMTPSessionsPerAddress),
		Line: smtp.MaxLine, LineTime: v.Duration(settings.SMTPCommandTimeout),
		ReadTime:  v.Duration(settings.SMTPDataTimeout),
		WriteTime: v.Duration(settings.SMTPDataTimeout),
		Handshake: v.Duration(settings.LimitsHandshake), Session: v.Duration(settings.SMTPSessionTime),
	}
}

func (s *Server) popLink() link.Limits {
	v := s.Settings.Current()
	return link.Limits{
		Sessions: v.Int(settings.POPSessions), PerAddress: v.Int(settings.POPSessionsPerAddress),
		Line: popd.MaxLine, LineTime: v.Duration(settings.POPTimeout),
		ReadTime: v.Duration(settings.POPTimeout), WriteTime: v.Duration(settings.POPTimeout),
		Handshake: v.Duration(settings.LimitsHandshake), Session: v.Duration(settings.POPSessionTime),
	}
}
