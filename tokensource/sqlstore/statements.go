package sqlstore

import (
	"regexp"
	"strings"
)

// statements are all that is asked of the database, in words that SQLite and
// PostgreSQL share. Parameters stand in their order, each once, so that "?"
// does for "$1".
type statements struct {
	create, load, put, save, clear, prune string
	take, holder, takeOver, renew, free   string
}

var parameter = regexp.MustCompile(`\$[0-9]`)

func newStatements(table string, questionMarks bool) statements {
	q := func(text string) string {
		text = strings.ReplaceAll(text, "TABLE_NAME", table)
		if questionMarks {
			text = parameter.ReplaceAllString(text, "?")
		}
		return text
	}
	return statements{
		create: q(`CREATE TABLE IF NOT EXISTS TABLE_NAME (id TEXT PRIMARY KEY, sealed TEXT, lease TEXT)`),
		load:   q(`SELECT sealed FROM TABLE_NAME WHERE id = $1`),
		put: q(`INSERT INTO TABLE_NAME (id, sealed) VALUES ($1, $2)
			ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed`),
		save:  q(`UPDATE TABLE_NAME SET sealed = $1 WHERE id = $2 AND lease = $3`),
		clear: q(`UPDATE TABLE_NAME SET sealed = NULL WHERE id = $1`),
		prune: q(`DELETE FROM TABLE_NAME WHERE id = $1 AND sealed IS NULL AND lease IS NULL`),
		take: q(`INSERT INTO TABLE_NAME AS t (id, lease) VALUES ($1, $2)
			ON CONFLICT (id) DO UPDATE SET lease = excluded.lease WHERE t.lease IS NULL`),
		holder:   q(`SELECT lease FROM TABLE_NAME WHERE id = $1`),
		takeOver: q(`UPDATE TABLE_NAME SET lease = $1 WHERE id = $2 AND lease = $3`),
		renew:    q(`UPDATE TABLE_NAME SET lease = $1 WHERE id = $2 AND lease = $3`),
		free:     q(`UPDATE TABLE_NAME SET lease = NULL WHERE id = $1 AND lease = $2`),
	}
}
