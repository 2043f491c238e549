package storetest

import "testing"

var sweepTests = map[string]func(*testing.T, *world){}
