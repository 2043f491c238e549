package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// BenchmarkRotate is the store's part of a refresh: read the family, rotate it
// under its guard, with its event, durably. Each caller has a family of its own.
func BenchmarkRotate(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			o := store.Options{Clock: clock.System{}, Path: filepath.Join(b.TempDir(), "bulla.db")}
			if url := os.Getenv("BENCH_POSTGRES"); url != "" {
				o.Path, o.URL = "", url
			}
			s, err := store.Open(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			now := clock.System{}.Now()
			id := fmt.Sprintf("ten_%d", now.UnixNano())
			if err := s.CreateTenant(b.Context(), tenant.Founding{Tenant: tenant.Tenant{ID: id, Domain: id, CreatedAt: now}}); err != nil {
				b.Fatal(err)
			}
			u := tenant.User{TenantID: id, ID: "auth0|1", Email: "a@example.com", CreatedAt: now, UpdatedAt: now}
			if err := s.CreateUser(b.Context(), u, "", tenant.Event{}); err != nil {
				b.Fatal(err)
			}
			g := tenant.Guard{ConfigVersion: 1, UserID: u.ID, UserVersion: 1}
			for n := range callers {
				f := tenant.RefreshToken{TenantID: id, ID: tenant.FamilyID(fmt.Sprintf("rt_%d", n)), ClientID: "c", UserID: u.ID,
					Rotating: true, CreatedAt: now, Scopes: []string{"openid", "offline_access"}, ExpiresAt: now.Add(time.Hour)}
				if err := s.IssueRefreshToken(b.Context(), tenant.Issue{Family: f, Limit: 200}, g, tenant.Event{Type: "sepft"}); err != nil {
					b.Fatal(err)
				}
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for n := range callers {
				wg.Go(func() {
					family := tenant.FamilyID(fmt.Sprintf("rt_%d", n))
					for left.Add(-1) >= 0 {
						f, err := s.RefreshToken(b.Context(), id, family)
						if err != nil {
							b.Error(err)
							return
						}
						at := clock.System{}.Now()
						err = s.RotateRefreshToken(b.Context(), tenant.Rotation{TenantID: id, ID: family, Guard: g, Generation: f.Generation, WasRotating: true,
							NowRotating: true, At: at, IdleExpiresAt: at.Add(time.Hour), ExpiresAt: f.ExpiresAt, NewKeyVersion: 1, Attempt: "hash of the nonce",
							Event: tenant.Event{Type: "sertft", ClientID: "c", UserID: u.ID, FamilyID: family, Generation: f.Generation, Scope: "openid offline_access",
								Origin: tenant.Origin{IP: "192.0.2.1", UserAgent: "Mozilla/5.0 (X11; Linux x86_64)"}}})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rotations/s")
		})
	}
}

// BenchmarkRecord is the store's part of a machine's token: one event that joins
// the next commit.
func BenchmarkRecord(b *testing.B) {
	s, err := store.Open(b.Context(), store.Options{Clock: clock.System{}, Path: filepath.Join(b.TempDir(), "bulla.db"), EventQueue: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		s.Record(tenant.Event{TenantID: "t", Type: "seccft", ClientID: "a client's id of 32 characters..", ClientName: "machine", Audience: "https://api.example.com/",
			Scope: "read:things write:things", Origin: tenant.Origin{IP: "192.0.2.1", UserAgent: "Go-http-client/2.0", Host: "auth.example.com"}})
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	if n := s.Dropped(); n > 0 {
		b.Errorf("%d events were dropped", n)
	}
}
