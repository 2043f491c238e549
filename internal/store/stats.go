package store

// WaitingWrites is how many writes wait for the embedded store's writer;
// PostgreSQL has no common queue.
func (s *Store) WaitingWrites() int {
	if e, ok := s.engine.(*sqliteEngine); ok {
		return len(e.jobs)
	}
	return 0
}

// WaitingEvents is how many recorded events wait for a commit.
func (s *Store) WaitingEvents() int { return s.events.queue.Len() }
