package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// lease is this process's hold on a row. Its value changes with each renewal,
// so that those who wait see that somebody lives; a value that stays the same
// for the lease's length, by the watch of the one who waits, is a dead one's.
type lease struct {
	done chan struct{}

	mu    sync.Mutex
	value string
	maybe string // the next value, when it is not known whether it was written
}

// with runs f with the value, which no renewal changes meanwhile.
func (l *lease) with(f func(value string) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f(l.value)
}

// acquire waits until the row is free, or its holder shows no life, and takes it.
func (s *Store) acquire(ctx context.Context, id string) (*lease, error) {
	var seen string
	var since time.Time
	for {
		value := random()
		free, holder, err := s.try(ctx, id, value)
		if err != nil {
			return nil, err
		}
		if free {
			return &lease{done: make(chan struct{}), value: value}, nil
		}
		switch {
		case holder == "" || holder != seen:
			seen, since = holder, time.Now()
		case time.Since(since) >= s.lease:
			err := s.one(ctx, "take over", s.sql.takeOver, value, id, seen)
			if err == nil {
				return &lease{done: make(chan struct{}), value: value}, nil
			}
			if !errors.Is(err, ErrLeaseLost) { // else somebody was quicker
				return nil, err
			}
		}
		if !pause(ctx, jittered(s.poll)) {
			return nil, context.Cause(ctx)
		}
	}
}

// try takes the row if nobody has it, and else says whose lease is in it.
func (s *Store) try(ctx context.Context, id, value string) (taken bool, holder string, err error) {
	err = s.one(ctx, "lock", s.sql.take, id, value)
	if err == nil || !errors.Is(err, ErrLeaseLost) {
		return err == nil, "", err
	}
	var text sql.NullString
	err = s.db.QueryRowContext(ctx, s.sql.holder, id).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, "", fmt.Errorf("sqlstore: lock: %w", err)
	}
	return false, text.String, nil
}

// renew shows that the holder lives, until it is done. When the lease is lost
// it stops: Save finds out by itself.
func (s *Store) renew(id string, l *lease) {
	ticker := time.NewTicker(s.lease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-ticker.C:
		}
		if errors.Is(s.exchange(id, l), ErrLeaseLost) {
			return
		}
	}
}

// exchange puts a new value into the row. If it is not known whether that was
// done, the row tells, now or next time.
func (s *Store) exchange(id string, l *lease) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.lease)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.maybe == "" {
		l.maybe = random()
	}
	err := s.one(ctx, "renew", s.sql.renew, l.maybe, id, l.value)
	if errors.Is(err, ErrLeaseLost) { // or it was we who wrote it, the time before
		var holder sql.NullString
		if asked := s.db.QueryRowContext(ctx, s.sql.holder, id).Scan(&holder); asked != nil && !errors.Is(asked, sql.ErrNoRows) {
			return asked
		}
		if holder.String == l.maybe {
			err = nil
		}
	}
	if err == nil {
		l.value, l.maybe = l.maybe, ""
	}
	return err
}

// release frees the row, and removes it if nothing is kept in it. If that
// fails the others wait for the lease's length.
func (s *Store) release(id string, l *lease) {
	ctx, cancel := context.WithTimeout(context.Background(), s.lease)
	defer cancel()
	_ = l.with(func(value string) error {
		if err := s.one(ctx, "unlock", s.sql.free, id, value); err != nil {
			return err
		}
		_, err := s.db.ExecContext(ctx, s.sql.prune, id)
		return err
	})
}
