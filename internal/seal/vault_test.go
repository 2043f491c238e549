package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/bulla-auth/bulla/internal/tenant"
	"pgregory.net/rapid"
)

func newTenant(t *testing.T, m Master, id string) tenant.Tenant {
	t.Helper()
	sealed, err := NewDataKey(m, id)
	if err != nil {
		t.Fatal(err)
	}
	return tenant.Tenant{ID: id, Domain: id + ".example", DataKey: sealed}
}

func TestVaultRoundTrip(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	v := NewVault(m)
	te := newTenant(t, m, "t1")
	rapid.Check(t, func(rt *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "plain")
		id := rapid.String().Draw(rt, "id")
		sealed, err := v.Seal(t.Context(), te, "purpose", id, plain)
		if err != nil {
			rt.Fatal(err)
		}
		// Another Vault, as after a restart.
		got, err := NewVault(m).Open(t.Context(), te, "purpose", id, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			rt.Fatalf("Open = %x, %v, want %x", got, err, plain)
		}
		if len(plain) > 8 && strings.Contains(sealed, string(plain)) {
			rt.Fatalf("sealed text holds the plaintext")
		}
	})
}

// SEC-137: tenant, purpose and id are bound to a sealed record, so that records
// cannot be swapped.
func TestSealedRecordsCannotBeMoved(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	v := NewVault(m)
	te, other := newTenant(t, m, "t1"), newTenant(t, m, "t2")
	sealed, err := v.Seal(t.Context(), te, "signing_key", "kid", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	swapped := te
	swapped.DataKey = other.DataKey
	same := newTenant(t, m, "t1") // the same id, another data key
	tests := map[string]struct {
		tenant      tenant.Tenant
		purpose, id string
	}{
		"another tenant":              {other, "signing_key", "kid"},
		"another id":                  {te, "signing_key", "kie"},
		"another purpose":             {te, "refresh_token", "kid"},
		"the border moved":            {te, "signing_keyk", "id"},
		"another tenant's data key":   {swapped, "signing_key", "kid"},
		"a data key made again":       {same, "signing_key", "kid"},
		"a data key that is damaged":  {tenant.Tenant{ID: "t1", DataKey: te.DataKey[:len(te.DataKey)-1]}, "signing_key", "kid"},
		"a tenant without a data key": {tenant.Tenant{ID: "t1"}, "signing_key", "kid"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := v.Open(t.Context(), tt.tenant, tt.purpose, tt.id, sealed); !errors.Is(err, ErrDamaged) {
				t.Errorf("Open = %q, %v, want ErrDamaged", got, err)
			}
		})
	}
	for _, spelling := range []string{sealed + "\n", sealed + "=", " " + sealed, sealed[:40] + "\r\n" + sealed[40:], ""} {
		if _, err := v.Open(t.Context(), te, "signing_key", "kid", spelling); !errors.Is(err, ErrDamaged) {
			t.Errorf("Open(%q) = %v, want ErrDamaged: one spelling", spelling, err)
		}
	}
}

// SEC-148: without the right master key nothing is sealed, opened or derived.
func TestVaultUnderWrongMaster(t *testing.T) {
	t.Parallel()
	te := newTenant(t, newMaster(t), "t1")
	v := NewVault(newMaster(t))
	if _, err := v.Seal(t.Context(), te, "p", "i", []byte("x")); !errors.Is(err, ErrWrongMasterKey) {
		t.Errorf("Seal = %v, want ErrWrongMasterKey", err)
	}
	if _, err := v.Open(t.Context(), te, "p", "i", "s1.AAAA"); !errors.Is(err, ErrWrongMasterKey) {
		t.Errorf("Open = %v, want ErrWrongMasterKey", err)
	}
	if _, err := v.Derive(t.Context(), te, LabelForm); !errors.Is(err, ErrWrongMasterKey) {
		t.Errorf("Derive = %v, want ErrWrongMasterKey", err)
	}
}

// SEC-146: one key, one purpose. The labels are distinct, the table is whole,
// and so are the keys distinct.
func TestLabelsAreDistinct(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	v := NewVault(m)
	tenants := []tenant.Tenant{newTenant(t, m, "t1"), newTenant(t, m, "t2")}
	seenLabel, seenKey := map[string]bool{}, map[string]string{}
	for _, label := range labels {
		if seenLabel[label] {
			t.Errorf("label %q is there twice", label)
		}
		seenLabel[label] = true
		if !derivable(label) {
			continue
		}
		for _, te := range tenants {
			key, err := v.Derive(t.Context(), te, label)
			if err != nil || len(key) != keySize {
				t.Fatalf("Derive(%s) = %d bytes, %v", label, len(key), err)
			}
			if before := seenKey[string(key)]; before != "" {
				t.Errorf("%s of %s has the key of %s", label, te.ID, before)
			}
			seenKey[string(key)] = label + " of " + te.ID
			if again, _ := NewVault(m).Derive(t.Context(), te, label); !bytes.Equal(again, key) {
				t.Errorf("Derive(%s) is another key after a restart", label)
			}
		}
	}
	if len(labels) != 9 {
		t.Errorf("%d labels in the table; add the new one to it and to this count", len(labels))
	}
	for _, label := range []string{"", "cookie", labelSeal, labelMasterWrap, labelMasterID} {
		if _, err := v.Derive(t.Context(), tenants[0], label); !errors.Is(err, ErrLabel) {
			t.Errorf("Derive(%q) = %v, want ErrLabel", label, err)
		}
	}
}

func TestVaultIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	v := NewVault(m)
	te := newTenant(t, m, "t1")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			id := fmt.Sprint(i)
			sealed, err := v.Seal(t.Context(), te, "p", id, []byte(id))
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := v.Open(t.Context(), te, "p", id, sealed); err != nil || string(got) != id {
				t.Errorf("Open = %q, %v", got, err)
			}
		})
	}
	wg.Wait()
}

// SEC-248: keys do not come out by printing.
func TestNothingPrintsKeys(t *testing.T) {
	t.Parallel()
	key := randomKey(t)
	m, err := NewMaster(key)
	if err != nil {
		t.Fatal(err)
	}
	v := NewVault(m)
	te := newTenant(t, m, "t1")
	if _, err := v.Derive(t.Context(), te, LabelForm); err != nil {
		t.Fatal(err)
	}
	secret := v.tenants["t1"].secret
	for _, value := range []any{m, v} {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			fmt.Fprintf(&out, verb, value)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "value", value)
		b, _ := json.Marshal(value)
		out.Write(b)
		for _, k := range [][]byte{key, secret} {
			for _, form := range []string{string(k), fmt.Sprintf("%x", k), fmt.Sprint(k), b64.EncodeToString(k)} {
				if strings.Contains(out.String(), form) {
					t.Errorf("%s prints a key", reflect.TypeOf(value))
				}
			}
		}
		if !strings.Contains(out.String(), "[redacted]") {
			t.Errorf("%s prints %q, want redacted", reflect.TypeOf(value), out.String())
		}
	}
}
