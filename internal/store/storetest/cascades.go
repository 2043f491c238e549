package storetest

import "testing"

var cascadeTests = map[string]func(*testing.T, *world){}
