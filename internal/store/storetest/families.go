package storetest

import "testing"

var familyTests = map[string]func(*testing.T, *world){}
