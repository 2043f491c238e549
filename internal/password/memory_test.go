package password

import (
	"runtime"
	"testing"
)

// SEC-182: the memory of hashing is a configured number, not a multiple of it
// that the collector's pace decides.
func TestMemoryOfAHashIsFreedBeforeTheNext(t *testing.T) {
	h := NewHasher(Options{Parallel: 1, Memory: 16 << 10, Passes: 1})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 4 {
		if _, err := h.Hash(t.Context(), "a password"); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
			t.Errorf("after a hash of 16 MiB the heap has grown by %d KiB", grown>>10)
		}
	}
}
