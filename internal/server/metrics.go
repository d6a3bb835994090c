package server

import (
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"postrider/internal/settings"
)

// startMetrics serves /metrics on every address of metrics.listen.
func (s *Server) startMetrics(ctx context.Context) error {
	listeners, err := (&inheritance{}).listen(ctx, "metrics",
		s.Settings.Current().List(settings.MetricsListen))
	if err != nil || len(listeners) == 0 {
		return err
	}
	s.metrics.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, d := range s.doors {
		s.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "postrider", Name: "sessions", Help: "Open connections.",
			ConstLabels: prometheus.Labels{"service": d.name},
		}, func() float64 { return float64(d.link.Stats().Open) }))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.guard(promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{})))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	for _, ln := range listeners {
		s.group.Go(func() {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				s.logger("metrics").Error("listener ended", "error", err)
			}
		})
	}
	s.group.Go(func() {
		<-ctx.Done()
		srv.Close()
	})
	return nil
}

// guard asks for the bearer token of metrics.token, if there is one.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want := s.Settings.Current().String(settings.MetricsToken)
		got := r.Header.Get("Authorization")
		if want != "" && subtle.ConstantTimeCompare([]byte(got), []byte("Bearer "+want)) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the token of metrics.token is needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
