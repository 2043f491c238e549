package token

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/bulla-auth/bulla/internal/tenant"
	"pgregory.net/rapid"
)

func newRefresh(t testing.TB, w *world) (string, tenant.FamilyID) {
	t.Helper()
	value, id, version, err := w.refresh.New(t.Context(), w.tenant, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if version != 2 {
		t.Fatalf("key version = %d, want the newest, 2", version)
	}
	return value, id
}

func TestRefreshValueForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value, id := newRefresh(t, w)
	if len(value) != 76 || !strings.HasPrefix(value, "brt_") {
		t.Errorf("value %q has %d characters, want 76 with brt_", value, len(value))
	}
	if len(id) != 30 || !strings.HasPrefix(string(id), "rt_") {
		t.Errorf("id %q has %d characters, want 30 with rt_", id, len(id))
	}
	p, err := w.refresh.Parse(t.Context(), w.tenant, value)
	if err != nil || p.ID != id || p.Generation != 0 || p.KeyVersion != 2 {
		t.Errorf("Parse = %s %d %d, %v, want %s 0 2", p.ID, p.Generation, p.KeyVersion, err, id)
	}
	if current, err := w.refresh.Current(t.Context(), w.tenant); err != nil || current != 2 {
		t.Errorf("Current = %d, %v, want 2", current, err)
	}
}

// SEC-106: a value counts as a whole: every truncation, every extension, every
// change of one character makes it unknown.
func TestRefreshValueCountsAsAWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value, _ := newRefresh(t, w)
	refuse := func(what, raw string) {
		t.Helper()
		if _, err := w.refresh.Parse(t.Context(), w.tenant, raw); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("%s: Parse(%q) = %v, want tenant.ErrNotFound", what, raw, err)
		}
	}
	for n := range len(value) {
		refuse("cut", value[:n])
		refuse("cut in front", value[len(value)-n:])
	}
	for i := range value {
		for c := range 256 {
			if byte(c) != value[i] {
				refuse("one character changed", value[:i]+string([]byte{byte(c)})+value[i+1:])
			}
		}
		for _, c := range []string{"\n", "\r\n", " ", "=", "A"} {
			refuse("one character put in", value[:i]+c+value[i:])
		}
	}
	for _, raw := range []string{
		value + "A", value + "=", value + "\n", " " + value, strings.ToUpper(value), strings.ToLower(value), value + value,
		"BRT_" + value[4:], value[4:], "brt_" + base64.StdEncoding.EncodeToString([]byte(value[4:])), value[:40] + "\n" + value[41:],
	} {
		if raw != value {
			refuse("another spelling", raw)
		}
	}
}

// SEC-123: near misses and random values end nobody's session; none is genuine.
func TestRefreshNearMisses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value, _ := newRefresh(t, w)
	genuine, err := base64.RawURLEncoding.DecodeString(value[4:])
	if err != nil {
		t.Fatal(err)
	}
	n := 100_000
	if testing.Short() {
		n = 1000
	}
	random := make([]byte, 4)
	for range n {
		b := bytes.Clone(genuine)
		if _, err := rand.Read(random); err != nil {
			t.Fatal(err)
		}
		b[int(random[0])%len(b)] ^= random[1] | 1
		if random[2] < 64 { // some in a second place
			b[int(random[3])%len(b)] ^= random[2] | 0x40
		}
		if bytes.Equal(b, genuine) {
			continue
		}
		raw := "brt_" + base64.RawURLEncoding.EncodeToString(b)
		if p, err := w.refresh.Parse(t.Context(), w.tenant, raw); !errors.Is(err, tenant.ErrNotFound) {
			t.Fatalf("Parse(%q) = %v, %v", raw, p.ID, err)
		}
	}
}

// A value of another tenant is unknown, even under the same key version.
func TestRefreshValueOfAnotherTenant(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), otherWorld(t)
	value, _ := newRefresh(t, other)
	if _, err := w.refresh.Parse(t.Context(), w.tenant, value); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("Parse = %v, want tenant.ErrNotFound", err)
	}
}

// D4, SEC-116: every generation is derived from any value of the family, the
// same each time, and nothing else has it.
func TestGenerationsAreDerived(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value, id := newRefresh(t, w)
	p, err := w.refresh.Parse(t.Context(), w.tenant, value)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		generation := rapid.Uint32().Draw(rt, "generation")
		version := rapid.Uint16Range(1, 2).Draw(rt, "version")
		next, err := w.refresh.Value(t.Context(), w.tenant, p, generation, version)
		if err != nil {
			rt.Fatal(err)
		}
		got, err := w.refresh.Parse(t.Context(), w.tenant, next)
		if err != nil || got.ID != id || got.Generation != generation || got.KeyVersion != version {
			rt.Fatalf("Parse = %s %d %d, %v", got.ID, got.Generation, got.KeyVersion, err)
		}
		again, err := w.refresh.Value(t.Context(), w.tenant, got, generation, version)
		if err != nil || again != next {
			rt.Fatalf("derived again: another value, %v", err)
		}
		if (next == value) != (generation == 0 && version == 2) {
			rt.Fatalf("generation %d under %d and generation 0 under 2 are one value", generation, version)
		}
	})
	if _, err := w.refresh.Value(t.Context(), w.tenant, Presented{ID: id}, 1, 2); err == nil {
		t.Error("a value was derived from a family's id alone")
	}
	if _, err := w.refresh.Value(t.Context(), w.tenant, p, 1, 3); err == nil || errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("a version that does not exist: %v, want a fault", err)
	}
}

// SEC-107: nothing that is stored is a value or makes one; not even the id and
// the secret together.
func TestNothingStoredIsAValue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value, id := newRefresh(t, w)
	locator, err := base64.RawURLEncoding.DecodeString(value[4:])
	if err != nil {
		t.Fatal(err)
	}
	stored := []string{string(id), string(id)[3:], Hash(value), Hash(string(id))}
	for _, s := range w.keys.secrets {
		stored = append(stored, s.Sealed)
	}
	for _, s := range stored {
		for _, raw := range []string{s, "brt_" + s, "brt_" + s + strings.Repeat("A", max(0, 72-len(s)))} {
			if _, err := w.refresh.Parse(t.Context(), w.tenant, raw); err == nil {
				t.Errorf("%q is a value", raw)
			}
		}
		if strings.Contains(s, base64.RawURLEncoding.EncodeToString(locator[2:32])) {
			t.Errorf("%q holds the locator", s)
		}
	}
}

// D4: an old key version goes with its last row; until then its values count.
func TestKeyVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value, _ := newRefresh(t, w) // under version 2
	p, err := w.refresh.Parse(t.Context(), w.tenant, value)
	if err != nil {
		t.Fatal(err)
	}
	old, err := w.refresh.Value(t.Context(), w.tenant, p, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.keys.secrets = w.keys.secrets[:1] // version 1 is gone
	w.changed()
	if _, err := w.refresh.Parse(t.Context(), w.tenant, old); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("a value under a version that is gone: %v, want tenant.ErrNotFound", err)
	}
	if _, err := w.refresh.Parse(t.Context(), w.tenant, value); err != nil {
		t.Errorf("a value under the version that is left: %v", err)
	}
}

// SEC-2, REL-4: a fault of the store is not an unknown token; and a value that
// is not even well formed costs no read.
func TestRefreshFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value, _ := newRefresh(t, w)
	w.keys.fault = errStorage
	w.changed()
	if _, err := w.refresh.Parse(t.Context(), w.tenant, value); !errors.Is(err, errStorage) {
		t.Errorf("Parse = %v, want the fault", err)
	}
	reads := w.keys.reads
	if _, err := w.refresh.Parse(t.Context(), w.tenant, value[:75]); !errors.Is(err, tenant.ErrNotFound) || w.keys.reads != reads {
		t.Errorf("Parse of a cut value = %v after %d reads, want none", err, w.keys.reads-reads)
	}
	w.keys.fault = nil
	w.keys.secrets = nil
	if _, err := w.refresh.Parse(t.Context(), w.tenant, value); err == nil || errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("Parse without any secret = %v, want a fault", err)
	}
}

func FuzzParseRefresh(f *testing.F) {
	w := newWorld(f)
	value, _ := newRefresh(f, w)
	f.Add(value)
	f.Add(value[:75] + "\n")
	f.Add("brt_")
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := w.refresh.Parse(t.Context(), w.tenant, raw)
		if err == nil {
			again, err := w.refresh.Value(t.Context(), w.tenant, p, p.Generation, p.KeyVersion)
			if err != nil || again != raw {
				t.Errorf("Parse took %q, which is spelled %q (%v)", raw, again, err)
			}
		} else if !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("Parse = %v, want tenant.ErrNotFound", err)
		}
	})
}

func BenchmarkParseRefresh(b *testing.B) {
	w := newWorld(b)
	value, _ := newRefresh(b, w)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.refresh.Parse(b.Context(), w.tenant, value); err != nil {
			b.Fatal(err)
		}
	}
}
