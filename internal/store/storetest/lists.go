package storetest

import "testing"

var listTests = map[string]func(*testing.T, *world){}
