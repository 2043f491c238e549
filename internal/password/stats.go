package password

// InUse is how many hashes are being computed, and how many callers wait for
// their turn, out of Options.Parallel and Options.Queue.
func (h *Hasher) InUse() (computing, waiting int) {
	computing = len(h.slots)
	return computing, max(len(h.places)-computing, 0)
}
