//go:build unix

package main

import "syscall"

// noCoreDumps keeps key material out of core files (SEC-149): the limit is 0,
// and on Linux the process counts as not dumpable, which also keeps other
// processes of the same user from reading its memory. Where the system refuses,
// there is nothing to do about it, and nothing to stop for.
func noCoreDumps() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
	notDumpable()
}
