package storetest

import "testing"

var guardTests = map[string]func(*testing.T, *world){}
