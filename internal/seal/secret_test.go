package seal

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const clientSecret = "0V3ryL0ngGeneratedSecretWith256BitsOfRandomness-and_64_characters"

func TestClientSecretMatches(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	v := NewVault(m)
	te := newTenant(t, m, "t1")
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	kept, err := v.NewClientSecret(t.Context(), te, "client", clientSecret)
	if err != nil {
		t.Fatal(err)
	}
	old, err := v.NewClientSecret(t.Context(), te, "client", "the secret before the rotation, still good for a while")
	if err != nil {
		t.Fatal(err)
	}
	old.ExpiresAt = now
	client := tenant.Client{ID: "client", Secrets: []tenant.ClientSecret{kept, old}}
	otherName := client
	otherName.ID = "clientX"

	tests := map[string]struct {
		client tenant.Client
		secret string
		now    time.Time
		want   bool
	}{
		"right":                       {client, clientSecret, now, true},
		"last byte wrong":             {client, clientSecret[:len(clientSecret)-1] + "X", now, false},
		"first byte wrong":            {client, "X" + clientSecret[1:], now, false},
		"a prefix":                    {client, clientSecret[:32], now, false},
		"white space added":           {client, clientSecret + " ", now, false},
		"other case":                  {client, strings.ToUpper(clientSecret), now, false},
		"the stored hash":             {client, kept.Hash, now, false},
		"the sealed copy":             {client, kept.Sealed, now, false},
		"SEC-8 empty":                 {client, "", now, false},
		"SEC-8 white space":           {client, " \t\r\n", now, false},
		"SEC-8 empty, without secret": {tenant.Client{ID: "client"}, "", now, false},
		"SEC-8 any, without secret":   {tenant.Client{ID: "client"}, clientSecret, now, false},
		"SEC-8 empty, empty hash":     {tenant.Client{ID: "client", Secrets: []tenant.ClientSecret{{}}}, "", now, false},
		"SEC-8 any, empty hash":       {tenant.Client{ID: "client", Secrets: []tenant.ClientSecret{{}}}, "x", now, false},
		"SEC-9 old, before its end":   {client, "the secret before the rotation, still good for a while", now.Add(-1), true},
		"SEC-9 old, at its end":       {client, "the secret before the rotation, still good for a while", now, false},
		"the hash of another client":  {otherName, clientSecret, now, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := v.MatchClientSecret(t.Context(), te, tt.client, tt.secret, tt.now)
			if err != nil || got != tt.want {
				t.Errorf("MatchClientSecret = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
	t.Run("another tenant", func(t *testing.T) {
		got, err := v.MatchClientSecret(t.Context(), newTenant(t, m, "t2"), client, clientSecret, now)
		if err != nil || got {
			t.Errorf("MatchClientSecret = %v, %v, want no match", got, err)
		}
	})
	t.Run("a fault is no mismatch (SEC-2)", func(t *testing.T) {
		if _, err := NewVault(newMaster(t)).MatchClientSecret(t.Context(), te, client, clientSecret, now); !errors.Is(err, ErrWrongMasterKey) {
			t.Errorf("err = %v, want ErrWrongMasterKey", err)
		}
	})
}

// SEC-7: what is kept of a client secret holds it in no form.
func TestClientSecretAtRest(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	v := NewVault(m)
	te := newTenant(t, m, "t1")
	s, err := v.NewClientSecret(t.Context(), te, "client", clientSecret)
	if err != nil {
		t.Fatal(err)
	}
	kept := s.Hash + " " + s.Sealed
	for _, form := range []string{
		clientSecret, hex.EncodeToString([]byte(clientSecret)),
		base64.RawStdEncoding.EncodeToString([]byte(clientSecret)), base64.RawURLEncoding.EncodeToString([]byte(clientSecret)),
	} {
		if strings.Contains(kept, form) {
			t.Errorf("the stored forms hold the secret as %q", form)
		}
	}
	got, err := v.OpenClientSecret(t.Context(), te, "client", s)
	if err != nil || got != clientSecret {
		t.Errorf("OpenClientSecret = %q, %v", got, err)
	}
	if _, err := v.OpenClientSecret(t.Context(), te, "other", s); !errors.Is(err, ErrDamaged) {
		t.Errorf("OpenClientSecret of another client = %v, want ErrDamaged", err)
	}
	s.Sealed = ""
	if _, err := v.OpenClientSecret(t.Context(), te, "client", s); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("OpenClientSecret of a dropped copy = %v, want tenant.ErrNotFound", err)
	}
	for _, blank := range []string{"", "  ", "\n"} {
		if _, err := v.NewClientSecret(t.Context(), te, "client", blank); !errors.Is(err, ErrBlank) {
			t.Errorf("NewClientSecret(%q) = %v, want ErrBlank (SEC-8)", blank, err)
		}
	}
}

func TestSigningSecret(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	v := NewVault(m)
	te := newTenant(t, m, "t1")
	api := tenant.ResourceServer{ID: "api1"}
	secret := strings.Repeat("s", MinSigningSecret)
	var err error
	if api.SigningSecret, err = v.SealSigningSecret(t.Context(), te, api.ID, secret); err != nil {
		t.Fatal(err)
	}
	if got, err := v.OpenSigningSecret(t.Context(), te, api); err != nil || got != secret {
		t.Errorf("OpenSigningSecret = %q, %v", got, err)
	}
	if _, err := v.SealSigningSecret(t.Context(), te, api.ID, secret[1:]); err == nil {
		t.Error("SEC-78: a signing secret of 31 bytes was taken")
	}
	moved := tenant.ResourceServer{ID: "api2", SigningSecret: api.SigningSecret}
	if _, err := v.OpenSigningSecret(t.Context(), te, moved); !errors.Is(err, ErrDamaged) {
		t.Errorf("OpenSigningSecret of another API's = %v, want ErrDamaged", err)
	}
	if _, err := v.OpenSigningSecret(t.Context(), te, tenant.ResourceServer{ID: "api3"}); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("OpenSigningSecret without one = %v, want tenant.ErrNotFound", err)
	}
}

func BenchmarkMatchClientSecret(b *testing.B) {
	key := make([]byte, keySize)
	for i := range key {
		key[i] = byte(i * 7)
	}
	m, err := NewMaster(key)
	if err != nil {
		b.Fatal(err)
	}
	v := NewVault(m)
	te := tenant.Tenant{ID: "t1"}
	if te.DataKey, err = NewDataKey(m, "t1"); err != nil {
		b.Fatal(err)
	}
	s, err := v.NewClientSecret(b.Context(), te, "client", clientSecret)
	if err != nil {
		b.Fatal(err)
	}
	c := tenant.Client{ID: "client", Secrets: []tenant.ClientSecret{s}}
	for b.Loop() {
		if ok, err := v.MatchClientSecret(b.Context(), te, c, clientSecret, time.Unix(0, 0)); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
