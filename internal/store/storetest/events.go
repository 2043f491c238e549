package storetest

import "testing"

var eventTests = map[string]func(*testing.T, *world){}
