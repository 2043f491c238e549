package verify

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
)

// bareWriter is a ResponseWriter that costs nothing, so that the middleware is
// measured and not a recorder.
type bareWriter struct {
	header http.Header
	code   int
}

func (w *bareWriter) Header() http.Header         { return w.header }
func (w *bareWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *bareWriter) WriteHeader(code int)        { w.code = code }

// BenchmarkPaired gives the ratios of performance.md D: each round times the
// bare signature check, Verify, the whole middleware and a remembered token, one
// after the other, so that a busy machine is busy for all; of each the median
// counts.
func BenchmarkPaired(b *testing.B) {
	k := key(0, "k0")
	secret := bytes.Repeat([]byte("s3cret--"), 4)
	for _, bb := range []struct {
		alg    jose.Algorithm
		signer jose.Signer
		key    jose.Key
	}{
		{jose.RS256, jose.NewRSASigner(jose.RS256, k.key), k.public()},
		{jose.HS256, jose.NewHMACSigner(secret), jose.Key{Secret: secret}},
	} {
		b.Run(string(bb.alg), func(b *testing.B) {
			o := Options{Issuer: testIssuer, Audience: []string{testAudience}, Now: func() time.Time { return noon }}
			if bb.alg == jose.HS256 {
				o.Secret = secret
			} else {
				o.Keys = jwks(b, k)
			}
			v := mustNew(b, o)
			o.TokenCache = 10
			remembering := mustNew(b, o)
			raw := sign(b, jose.Header{Alg: bb.alg, Typ: "at+jwt", Kid: k.kid}, bb.signer, goodClaims(testIssuer).json(b))
			tok, err := jose.ParseCompact(raw)
			if err != nil {
				b.Fatal(err)
			}
			h := v.Middleware(nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
			r, err := http.NewRequest("GET", "https://api.example/", nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+raw)
			ctx := context.Background()
			steps := []struct {
				name string
				do   func() error
			}{
				{"bare", func() error { return bb.key.Verify(bb.alg, tok.SigningInput, tok.Signature) }},
				{"verify", func() error { _, err := v.Verify(ctx, raw); return err }},
				{"middleware", func() error {
					w := &bareWriter{header: http.Header{}}
					h.ServeHTTP(w, r)
					if w.code != 204 {
						b.Errorf("status %d", w.code)
					}
					return nil
				}},
				{"remembered", func() error { _, err := remembering.Verify(ctx, raw); return err }},
			}
			times := make([][]time.Duration, len(steps))
			const batch = 8 // long enough for the watch
			for b.Loop() {
				for i, s := range steps {
					start := time.Now()
					for range batch {
						if err := s.do(); err != nil {
							b.Fatal(s.name, err)
						}
					}
					times[i] = append(times[i], time.Since(start))
				}
			}
			median := func(i int) float64 {
				slices.Sort(times[i])
				return float64(times[i][len(times[i])/2]) / batch
			}
			bare := median(0)
			for i, s := range steps {
				b.ReportMetric(median(i), s.name+"-ns")
				if i > 0 {
					b.ReportMetric(median(i)/bare, s.name+"/bare")
				}
			}
		})
	}
}
