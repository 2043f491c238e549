package app

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// metrics are what an operator may read on the ops listener, in a registry of
// our own. Labels come from fixed sets (routes, methods, codes), never from
// what a caller wrote (SEC-230).
type metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	tokens    *prometheus.CounterVec
	commits   prometheus.Histogram
	groups    prometheus.Histogram
}

func newMetrics(b Build) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bulla_http_requests_total", Help: "Requests answered on the public listener.",
		}, []string{"route", "method", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bulla_http_request_duration_seconds", Help: "Time from the request's header to the end of the answer.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bulla_token_requests_total", Help: "Answers of the token endpoint by grant and outcome.",
		}, []string{"grant", "outcome"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bulla_store_commit_duration_seconds", Help: "Time a commit of the store took, its writes included.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5},
		}),
		groups: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bulla_store_commit_writes", Help: "Writes that shared a commit.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256},
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "bulla_build_info", Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "go": b.Go},
	})
	info.Set(1)
	m.registry.MustRegister(m.requests, m.durations, m.tokens, m.commits, m.groups, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// counter and gauge publish a value that another part keeps.
func (m *metrics) counter(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
}

func (m *metrics) gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// commit times a commit of the store: it is called at the beginning, and what it
// returns at the end.
func (m *metrics) commit() func(writes int) {
	elapsed := clock.Stopwatch()
	return func(writes int) {
		m.commits.Observe(elapsed().Seconds())
		m.groups.Observe(float64(writes))
	}
}

// opsHandler is everything on the ops listener.
func (m *metrics) opsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry}))
	return mux
}

// count counts and times the requests of next. route names the route of a
// request, or nothing when none fits.
func (m *metrics) count(next http.Handler, route func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elapsed := clock.Stopwatch()
		name := route(r)
		if name == "" {
			name = "none"
		}
		rec := &statusRecorder{ResponseWriter: w}
		defer func() { // also when the handler cut the connection
			m.requests.WithLabelValues(name, method(r.Method), strconv.Itoa(rec.status())).Inc()
			m.durations.WithLabelValues(name).Observe(elapsed().Seconds())
		}()
		next.ServeHTTP(rec, r)
	})
}

// method keeps the label set finite: a method is any token (RFC 9110 §9.1).
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

type statusRecorder struct {
	http.ResponseWriter
	code int
}

func (w *statusRecorder) WriteHeader(code int) {
	if w.code == 0 && code >= 200 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusRecorder) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusRecorder) status() int {
	if w.code == 0 {
		return http.StatusOK
	}
	return w.code
}

// countedStore is the store as grant sees it: every answer of the token endpoint
// has exactly one event, so counting those counts the answers.
type countedStore struct {
	*store.Store
	m *metrics
}

// grants names the grant and the outcome of an event's code.
var grants = map[string][2]string{
	audit.CodeExchanged:              {"authorization_code", "issued"},
	audit.CodeRefused:                {"authorization_code", "refused"},
	audit.ClientCredentialsExchanged: {"client_credentials", "issued"},
	audit.ClientCredentialsRefused:   {"client_credentials", "refused"},
	audit.DeviceExchanged:            {"device_code", "issued"},
	audit.DeviceExchangeRefused:      {"device_code", "refused"},
	audit.PasswordExchanged:          {"password", "issued"},
	audit.PasswordRefused:            {"password", "refused"},
	audit.RefreshExchanged:           {"refresh_token", "issued"},
	audit.RefreshRefused:             {"refresh_token", "refused"},
	audit.RefreshReused:              {"refresh_token", "reused"},
}

func (s countedStore) seen(code string, err error) error {
	if g, ok := grants[code]; ok && err == nil {
		s.m.tokens.WithLabelValues(g[0], g[1]).Inc()
	}
	return err
}

// Record counts the answers whose event changes nothing.
func (s countedStore) Record(e tenant.Event) {
	s.Store.Record(e)
	_ = s.seen(e.Type, nil) // counts; there is no error to pass on
}

// RedeemCode counts an exchanged code.
func (s countedStore) RedeemCode(ctx context.Context, r tenant.Redemption) error {
	return s.seen(r.Event.Type, s.Store.RedeemCode(ctx, r))
}

// RedeemDeviceCode counts an exchanged device code.
func (s countedStore) RedeemDeviceCode(ctx context.Context, r tenant.Redemption) error {
	return s.seen(r.Event.Type, s.Store.RedeemDeviceCode(ctx, r))
}

// SpendCode counts a refused code.
func (s countedStore) SpendCode(ctx context.Context, tenantID, hash string, at time.Time, e tenant.Event) error {
	return s.seen(e.Type, s.Store.SpendCode(ctx, tenantID, hash, at, e))
}

// IssueRefreshToken counts an exchanged password.
func (s countedStore) IssueRefreshToken(ctx context.Context, issue tenant.Issue, g tenant.Guard, e tenant.Event) error {
	return s.seen(e.Type, s.Store.IssueRefreshToken(ctx, issue, g, e))
}

// RotateRefreshToken counts an exchanged refresh token.
func (s countedStore) RotateRefreshToken(ctx context.Context, r tenant.Rotation) error {
	return s.seen(r.Event.Type, s.Store.RotateRefreshToken(ctx, r))
}

// RevokeFamily counts a reuse that was found.
func (s countedStore) RevokeFamily(ctx context.Context, r tenant.Revocation) error {
	return s.seen(r.Event.Type, s.Store.RevokeFamily(ctx, r))
}
