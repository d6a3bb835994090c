package server

import (
	"context"
	"errors"
	"net"
	"net/http"
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
	srv := &http.Server{Handler: s.metrics.Handler(token), ReadHeaderTimeout: 10 * time.Second,
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

// doorMetrics tells of the connections of all services.
type doorMetrics []*door

func doorDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("postrider_"+name, help, append([]string{"service"}, labels...), nil)
}

var (
	sessionsDesc  = doorDesc("sessions", "Open connections.")
	parkedDesc    = doorDesc("sessions_parked", "Open connections that wait without buffers.")
	acceptedDesc  = doorDesc("connections_total", "Connections accepted.")
	failedDesc    = doorDesc("connections_failed_total", "Without PROXY header or TLS handshake.")
	refusedDesc   = doorDesc("connections_refused_total", "Refused for want of room.", "limit")
	panicsDesc    = doorDesc("panics_total", "Sessions ended by a fault of the program.")
	allDoorsDescs = []*prometheus.Desc{sessionsDesc, parkedDesc, acceptedDesc, failedDesc,
		refusedDesc, panicsDesc}
)

// Describe, with Collect, implements prometheus.Collector.
func (m doorMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range allDoorsDescs {
		ch <- d
	}
}

// Collect asks every link for its counts.
func (m doorMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, d := range m {
		st := d.link.Stats()
		send := func(desc *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, t, v, append([]string{d.name}, labels...)...)
		}
		send(sessionsDesc, prometheus.GaugeValue, float64(st.Open))
		send(parkedDesc, prometheus.GaugeValue, float64(st.Parked))
		send(acceptedDesc, prometheus.CounterValue, float64(st.Accepted))
		send(failedDesc, prometheus.CounterValue, float64(st.Failed))
		send(refusedDesc, prometheus.CounterValue, float64(st.TooMany), "sessions")
		send(refusedDesc, prometheus.CounterValue, float64(st.TooManyFromAddress), "address")
		send(panicsDesc, prometheus.CounterValue, float64(st.Panics))
	}
}
