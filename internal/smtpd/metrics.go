package smtpd

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the counters of all doors of this package.
type Metrics struct {
	replies  *prometheus.CounterVec
	sessions *prometheus.CounterVec
	messages *prometheus.CounterVec
	bytes    *prometheus.CounterVec
}

// NewMetrics makes the counters and registers them; with a nil registerer
// they count for nobody. It panics, as prometheus does, when called twice
// for one registerer.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "postrider", Subsystem: "smtpd", Name: name, Help: help,
		}, labels)
		if reg != nil {
			reg.MustRegister(v)
		}
		return v
	}
	return &Metrics{
		replies: vec("replies_total", "Replies sent, by the first digit of their code.",
			"door", "class"),
		sessions: vec("sessions_total", "Sessions begun.", "door"),
		messages: vec("messages_total", "Messages accepted.", "door"),
		bytes:    vec("message_bytes_total", "Bytes of the messages accepted.", "door"),
	}
}

// counters are the Metrics of one door, looked up once.
type counters struct {
	replies  [6]prometheus.Counter // by class
	sessions prometheus.Counter
	messages prometheus.Counter
	bytes    prometheus.Counter
}

func (m *Metrics) door(name string) counters {
	c := counters{
		sessions: m.sessions.WithLabelValues(name),
		messages: m.messages.WithLabelValues(name),
		bytes:    m.bytes.WithLabelValues(name),
	}
	for i := range c.replies {
		c.replies[i] = m.replies.WithLabelValues(name, string(rune('0'+i)))
	}
	return c
}

func (c *counters) reply(code int) {
	if class := code / 100; class < len(c.replies) {
		c.replies[class].Inc()
	}
}
