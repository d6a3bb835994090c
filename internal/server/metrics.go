package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postrider/internal/settings"
)

// metricsService is the name of the metrics among the services.
const metricsService = "metrics"

// serveMetrics serves /metrics on the listeners of metrics.listen.
func (s *Server) serveMetrics(ctx context.Context) {
	if len(s.scrape) == 0 {
		return
	}
	token := func() string { return s.Settings.Current().String(settings.MetricsToken) }
	srv := &http.Server{Handler: s.guarded(s.metrics.Handler(token)), ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	for _, ln := range s.scrape {
		s.group.Go(func() {
			if err := srv.Serve(ln); ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				s.logger(metricsService).Error("listener ended", "error", err)
			}
		})
	}
	s.group.Go(func() {
		<-ctx.Done()
		srv.Close()
	})
}

// guarded refuses everybody while the token is one that cannot be opened:
// that is no reason to do without.
func (s *Server) guarded(h http.Handler) http.Handler {
	const name = "metrics.token"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Settings.Current().String(settings.MetricsToken) == "" &&
			slices.Contains(s.Settings.Sealed(), name) {
			http.Error(w, name+" cannot be opened with this secret.key: set it anew",
				http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// doorMetrics tells of the connections of all services.
type doorMetrics struct {
	doors []*door

	sessions, parked, accepted, failed, refused, panics *prometheus.Desc
}

func newDoorMetrics(doors []*door) *doorMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("postrider_"+name, help, append([]string{"service"}, labels...), nil)
	}
	return &doorMetrics{
		doors:    doors,
		sessions: desc("sessions", "Open connections."),
		parked:   desc("sessions_parked", "Open connections that wait without buffers."),
		accepted: desc("connections_total", "Connections accepted."),
		failed:   desc("connections_failed_total", "Without PROXY header or TLS handshake."),
		refused:  desc("connections_refused_total", "Refused for want of room.", "limit"),
		panics:   desc("panics_total", "Sessions ended by a fault of the program."),
	}
}

// Describe, with Collect, implements prometheus.Collector.
func (m *doorMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.sessions, m.parked, m.accepted, m.failed, m.refused,
		m.panics} {
		ch <- d
	}
}

// Collect asks every link for its counts.
func (m *doorMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, d := range m.doors {
		st := d.link.Stats()
		send := func(desc *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, t, v, append([]string{d.name}, labels...)...)
		}
		send(m.sessions, prometheus.GaugeValue, float64(st.Open))
		send(m.parked, prometheus.GaugeValue, float64(st.Parked))
		send(m.accepted, prometheus.CounterValue, float64(st.Accepted))
		send(m.failed, prometheus.CounterValue, float64(st.Failed))
		send(m.refused, prometheus.CounterValue, float64(st.TooMany), "sessions")
		send(m.refused, prometheus.CounterValue, float64(st.TooManyFromAddress), "address")
		send(m.panics, prometheus.CounterValue, float64(st.Panics))
	}
}
