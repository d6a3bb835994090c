package journal

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is a registry of its own for Prometheus; the library's default one
// is not used. Each component makes its collectors and registers them here.
type Metrics struct {
	*prometheus.Registry
}

// NewMetrics makes a registry that has the state of the process and of the Go
// runtime, and the version of the program as a label of postrider_build_info.
func NewMetrics(version string) *Metrics {
	m := &Metrics{prometheus.NewRegistry()}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "postrider_build_info",
		Help:        "Always 1; its labels tell the version.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	m.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return m
}

// Handler serves the metrics at /metrics. The token is asked for at each
// request: if it is not empty, the request must carry it as bearer token
// (RFC 6750 section 2.1).
func (m *Metrics) Handler(token func() string) http.Handler {
	show := promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if want := token(); want != "" && !bearer(r, want) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "want the bearer token of metrics.token", http.StatusUnauthorized)
			return
		}
		show.ServeHTTP(w, r)
	})
	return mux
}

// bearer compares in constant time, also as to the length.
func bearer(r *http.Request, want string) bool {
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

var (
	recordsDesc = prometheus.NewDesc("postrider_log_records_total",
		"Log records by component and level (1 failures to 5 everything).",
		[]string{"component", "level"}, nil)
	lostDesc = prometheus.NewDesc("postrider_log_records_lost_total",
		"Log records that could not be written.", nil, nil)
)

// Describe, with Collect, makes a Journal a collector of its own records.
func (j *Journal) Describe(ch chan<- *prometheus.Desc) {
	ch <- recordsDesc
	ch <- lostDesc
}

// Collect tells how many records each component wrote.
func (j *Journal) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(lostDesc, prometheus.CounterValue,
		float64(j.queue.lostTotal.Load()))
	j.mu.Lock()
	defer j.mu.Unlock()
	for name, c := range j.components {
		for level := 1; level < len(c.records); level++ {
			if n := c.records[level].Load(); n > 0 {
				ch <- prometheus.MustNewConstMetric(recordsDesc, prometheus.CounterValue,
					float64(n), name, strconv.Itoa(level))
			}
		}
	}
}
