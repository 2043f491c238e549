package store

import (
	"context"
	"fmt"
	"time"
)

// DatabaseTime is the time of the database's machine, which the clocks of all
// nodes follow (REL-27). The embedded database has no other clock than ours: the
// answer is then false.
func (s *Store) DatabaseTime(ctx context.Context) (time.Time, bool, error) {
	if s.opts.URL == "" {
		return time.Time{}, false, nil
	}
	rows, err := s.read.query(ctx, `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)`)
	ms, err := one(rows, err, scanOne[int64])
	if err != nil {
		return time.Time{}, true, fmt.Errorf("read the database's clock: %w", err)
	}
	return time.UnixMilli(ms).UTC(), true, nil
}
