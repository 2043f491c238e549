package main

// noCoreDumps has nothing to do: Windows writes no core file unless told to.
func noCoreDumps() {}
