package app

import (
	"os"
	"strings"
	"testing"
)

// SEC-251: each direct dependency has its reason written down, and nothing is
// written down that is not used.
func TestDependenciesHaveTheirReason(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	adr, err := os.ReadFile("../../docs/adr/0004-dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(line)
		if len(fields) == 2 && strings.Contains(fields[0], ".") && strings.HasPrefix(fields[1], "v") {
			used[fields[0]] = true
		}
	}
	if len(used) < 5 {
		t.Fatalf("only %d direct dependencies found: does this test still read go.mod?", len(used))
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(adr)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			if name := strings.TrimSpace(cells[1]); strings.Contains(name, "/") {
				listed[name] = true
			}
		}
	}
	for name := range used {
		if !listed[name] {
			t.Errorf("%s is in go.mod without a line in docs/adr/0004-dependencies.md: each dependency is a line there, or it does not go in", name)
		}
	}
	for name := range listed {
		if !used[name] {
			t.Errorf("%s has a line in docs/adr/0004-dependencies.md and is not in go.mod", name)
		}
	}
}
