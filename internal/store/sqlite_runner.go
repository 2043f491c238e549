package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// sqliteError says which facts a driver error states.
func sqliteError(err error) error {
	var se *sqlite.Error
	if errors.As(err, &se) {
		switch se.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return fmt.Errorf("%w: %w", tenant.ErrExists, err)
		}
	}
	return err
}

// numbered writes $1 as ?1, so that SQLite binds by number as PostgreSQL does
// ($1 is a name to it). Where the parameters stand in order, each once, it
// leaves the number away: for each one that is numbered SQLite walks the list of
// those before, a third of the cost of inserting events. Nothing else is
// rewritten; text in quotes is left alone.
func numbered(statement string) string {
	var b strings.Builder
	ordered, last := true, 0
	parameters(statement, func(_, _, n int) {
		last++
		ordered = ordered && n == last
	})
	at := 0
	parameters(statement, func(from, to, _ int) {
		b.WriteString(statement[at:from] + "?")
		if at = to; !ordered {
			b.WriteString(statement[from+1 : to])
		}
	})
	return b.String() + statement[at:]
}

// parameters calls found for each $n outside quotes, with where it stands.
func parameters(statement string, found func(from, to, n int)) {
	quoted := false
	for i := 0; i < len(statement); i++ {
		switch c := statement[i]; {
		case c == '\'':
			quoted = !quoted
		case c == '$' && !quoted:
			to := i + 1
			for to < len(statement) && statement[to] >= '0' && statement[to] <= '9' {
				to++
			}
			if n, err := strconv.Atoi(statement[i+1 : to]); err == nil {
				found(i, to, n)
			}
		}
	}
}

// maxPrepared bounds the statements a connection keeps prepared; our fixed ones
// are far fewer.
const maxPrepared = 400

// sqliteConn is the writer's connection; only the writer uses it.
type sqliteConn struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func (c *sqliteConn) stmt(ctx context.Context, statement string) (*sql.Stmt, error) {
	if st, ok := c.prepared[statement]; ok {
		return st, nil
	}
	if len(c.prepared) >= maxPrepared {
		return nil, fmt.Errorf("more than %d fixed statements", maxPrepared)
	}
	st, err := c.conn.PrepareContext(ctx, numbered(statement))
	if err == nil {
		c.prepared[statement] = st
	}
	return st, err
}

func (c *sqliteConn) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	st, err := c.stmt(ctx, statement)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, sqliteError(err)
	}
	return res.RowsAffected()
}

func (c *sqliteConn) query(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	st, err := c.stmt(ctx, statement)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

func (c *sqliteConn) queryOnce(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	return c.conn.QueryContext(ctx, numbered(statement), args...)
}

func (c *sqliteConn) close() error {
	var errs []error
	for _, st := range c.prepared {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, c.conn.Close())...)
}

// sqlitePool reads, on connections that cannot write.
type sqlitePool struct {
	db       *sql.DB
	mu       sync.RWMutex
	prepared map[string]*sql.Stmt
}

func (p *sqlitePool) stmt(ctx context.Context, statement string) (*sql.Stmt, error) {
	p.mu.RLock()
	st, ok := p.prepared[statement]
	p.mu.RUnlock()
	if ok {
		return st, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if st, ok := p.prepared[statement]; ok {
		return st, nil
	}
	if len(p.prepared) >= maxPrepared {
		return nil, fmt.Errorf("more than %d fixed statements", maxPrepared)
	}
	st, err := p.db.PrepareContext(ctx, numbered(statement))
	if err == nil {
		p.prepared[statement] = st
	}
	return st, err
}

func (p *sqlitePool) exec(context.Context, string, ...any) (int64, error) {
	return 0, errors.New("a reader cannot write")
}

func (p *sqlitePool) query(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	st, err := p.stmt(ctx, statement)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

func (p *sqlitePool) queryOnce(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	return p.db.QueryContext(ctx, numbered(statement), args...)
}

func (p *sqlitePool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, st := range p.prepared {
		errs = append(errs, st.Close())
	}
	return errors.Join(errs...)
}
