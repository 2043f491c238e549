package store

import (
	"context"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/tenant"
)

const userColumns = `tenant_id, user_id, email, email_verified, username, phone_number, phone_verified, name, nickname,
	given_name, family_name, picture, blocked, user_metadata, app_metadata, identities, attributes, administrator, version,
	logins_count, last_ip, last_login_at, last_password_reset_at, created_at, updated_at`

func userFields(u *tenant.User) []any {
	return []any{&u.TenantID, &u.ID, &u.Email, flag{&u.EmailVerified}, &u.Username, &u.PhoneNumber, flag{&u.PhoneVerified}, &u.Name, &u.Nickname,
		&u.GivenName, &u.FamilyName, &u.Picture, flag{&u.Blocked}, rawOf{&u.UserMetadata}, rawOf{&u.AppMetadata},
		jsonOf{&u.Identities}, jsonOf{&u.Attributes}, flag{&u.Administrator}, &u.Version,
		&u.LoginsCount, &u.LastIP, instant{&u.LastLoginAt}, instant{&u.LastPasswordResetAt}, instant{&u.CreatedAt}, instant{&u.UpdatedAt}}
}

func scanUser(row scanner) (tenant.User, error) {
	var u tenant.User
	err := row.Scan(userFields(&u)...)
	return u, err
}

// User finds a user.
func (s *Store) User(ctx context.Context, tenantID, userID string) (tenant.User, error) {
	return userByID(ctx, s.read, tenantID, userID)
}

func userByID(ctx context.Context, run runner, tenantID, userID string) (tenant.User, error) {
	rows, err := run.query(ctx, `SELECT `+userColumns+` FROM users WHERE tenant_id = $1 AND user_id = $2`, tenantID, userID)
	return one(rows, err, scanUser)
}

// UserForPassword finds a database user of a connection by e-mail address, in
// any case, or by the exact user name, with the encoded password hash.
func (s *Store) UserForPassword(ctx context.Context, tenantID, connection, identifier string) (tenant.User, string, error) {
	type found struct {
		user tenant.User
		hash string
	}
	// The address comes first when one user's address is another's user name.
	rows, err := s.read.query(ctx, `
		SELECT `+userColumns+`, password_hash FROM users
		 WHERE tenant_id = $1 AND connection = $2 AND (login_email = $3 OR login_username = $4)
		 ORDER BY CASE WHEN login_email = $3 THEN 0 ELSE 1 END LIMIT 1`,
		tenantID, connection, tenant.CanonicalEmail(identifier), identifier)
	f, err := one(rows, err, func(row scanner) (f found, err error) {
		err = row.Scan(append(userFields(&f.user), &f.hash)...)
		return f, err
	})
	return f.user, f.hash, err
}

var userSearch = map[string]column{
	"user_id": {expr: "user_id"}, "username": {expr: "username"}, "phone_number": {expr: "phone_number"}, "picture": {expr: "picture"},
	"last_ip": {expr: "last_ip"}, "email": {expr: "email"}, "name": {expr: "name"}, "given_name": {expr: "given_name"},
	"family_name": {expr: "family_name"}, "nickname": {expr: "nickname"}, "email.domain": {expr: "email", before: "@"},
	"identities.connection": {expr: "connection"}, "identities.provider": {expr: "user_id", after: "|"},
	"identities.user_id": {expr: "user_id", before: "|"},
	"email_verified":     {expr: "email_verified"}, "phone_verified": {expr: "phone_verified"}, "blocked": {expr: "blocked"},
	"logins_count": {expr: "logins_count"}, "created_at": {expr: "created_at"}, "updated_at": {expr: "updated_at"},
	"last_login": {expr: "last_login_at"}, "last_password_reset": {expr: "last_password_reset_at"},
}

// Users lists users, oldest first unless q sorts. A checkpoint page is always by
// age. Letter case is folded for ASCII alone on SQLite.
func (s *Store) Users(ctx context.Context, tenantID string, q tenant.UserQuery, p tenant.Page) (tenant.List[tenant.User], error) {
	w := newWhere(tenantID)
	if err := w.search(q.Where, userSearch, tenant.UserField); err != nil {
		return tenant.List[tenant.User]{}, err
	}
	l := listing[tenant.User]{
		columns: userColumns, table: "users", key: createdThenID("user_id"), scan: scanUser,
		position: func(u tenant.User) []string { return age(u.CreatedAt.UnixMilli(), u.ID) },
	}
	if q.Sort != "" && !p.Checkpoint {
		col, ok := userSearch[q.Sort]
		if !ok || col.before+col.after != "" {
			return tenant.List[tenant.User]{}, tenant.ErrQuery
		}
		l.key, l.descending = []string{col.expr, "user_id"}, q.Descending
	}
	return list(ctx, s.read, l, w, p)
}

// UsersByEmail lists the users with exactly this address, oldest first.
func (s *Store) UsersByEmail(ctx context.Context, tenantID, email string) ([]tenant.User, error) {
	rows, err := s.read.query(ctx, `
		SELECT `+userColumns+` FROM users WHERE tenant_id = $1 AND email = $2 ORDER BY created_at, user_id`, tenantID, email)
	return all(rows, err, scanUser)
}

// logins are what the user signs in with at a database connection, nil for
// nothing: unique there.
func logins(u tenant.User) (email, username any) {
	if len(u.Identities) == 0 || u.Identities[0].Provider != tenant.DatabaseStrategy {
		return nil, nil
	}
	if u.Email != "" {
		email = tenant.CanonicalEmail(u.Email)
	}
	if u.Username != "" {
		username = u.Username
	}
	return email, username
}

// CreateUser inserts a user with an encoded password hash (or ""); ErrExists
// when the address, the user name or the id is taken.
func (s *Store) CreateUser(ctx context.Context, u tenant.User, passwordHash string, e tenant.Event) error {
	return s.write(ctx, u.TenantID, "", func(tx *Tx) error {
		if err := tx.insertUser(u, passwordHash); err != nil {
			return err
		}
		tx.appendEvent(e)
		return nil
	})
}

func (tx *Tx) insertUser(u tenant.User, passwordHash string) error {
	email, username := logins(u)
	_, err := tx.exec(`
		INSERT INTO users (`+userColumns+`, connection, login_email, login_username, password_hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29)`,
		u.TenantID, u.ID, u.Email, bit(u.EmailVerified), u.Username, u.PhoneNumber, bit(u.PhoneVerified), u.Name, u.Nickname,
		u.GivenName, u.FamilyName, u.Picture, bit(u.Blocked), raw(u.UserMetadata), raw(u.AppMetadata), jsonText(u.Identities), jsonText(u.Attributes),
		bit(u.Administrator), max(u.Version, 1), u.LoginsCount, u.LastIP, millis(u.LastLoginAt), millis(u.LastPasswordResetAt),
		millis(u.CreatedAt), millis(u.UpdatedAt), u.Connection(), email, username, passwordHash)
	return err
}

// UpdateUser writes the user that change returns and raises its version. A
// non-empty passwordHash replaces the stored one; that, and a change of address,
// user name or phone, ends the user's sessions. Blocking marks the user: the
// access tokens that are out are refused, the families stay (SEC-134).
func (s *Store) UpdateUser(ctx context.Context, tenantID, id string, change func(tenant.User) (tenant.User, error), passwordHash string, e tenant.Event) (tenant.User, error) {
	return written(ctx, s, tenantID, "user "+id, func(tx *Tx, out *tenant.User) error {
		old, err := userByID(tx.ctx, tx.run, tenantID, id)
		if err != nil {
			return err
		}
		u, err := change(old)
		if err != nil {
			return err
		}
		u.TenantID, u.ID, u.Version, u.CreatedAt = tenantID, id, old.Version+1, old.CreatedAt
		email, username := logins(u)
		if err := tx.must(`
			UPDATE users SET email = $3, email_verified = $4, username = $5, phone_number = $6, phone_verified = $7, name = $8, nickname = $9,
			       given_name = $10, family_name = $11, picture = $12, blocked = $13, user_metadata = $14, app_metadata = $15, identities = $16,
			       attributes = $17, administrator = $18, version = $19, last_password_reset_at = $20, updated_at = $21,
			       connection = $22, login_email = $23, login_username = $24,
			       password_hash = CASE WHEN $25 = '' THEN password_hash ELSE $25 END
			 WHERE tenant_id = $1 AND user_id = $2`,
			tenantID, id, u.Email, bit(u.EmailVerified), u.Username, u.PhoneNumber, bit(u.PhoneVerified), u.Name, u.Nickname,
			u.GivenName, u.FamilyName, u.Picture, bit(u.Blocked), raw(u.UserMetadata), raw(u.AppMetadata), jsonText(u.Identities),
			jsonText(u.Attributes), bit(u.Administrator), u.Version, millis(u.LastPasswordResetAt), millis(u.UpdatedAt),
			u.Connection(), email, username, passwordHash); err != nil {
			return err
		}
		if passwordHash != "" || u.Email != old.Email || u.Username != old.Username || u.PhoneNumber != old.PhoneNumber {
			if _, err := tx.exec(`
				UPDATE sessions SET ended_at = $3 WHERE tenant_id = $1 AND user_id = $2 AND ended_at IS NULL`,
				tenantID, id, millis(tx.now)); err != nil {
				return err
			}
		}
		if u.Blocked && !old.Blocked {
			if err := tx.mark(tenantID, tenant.MarkSubject{Kind: "user", ID: id}, u.UpdatedAt, time.Time{}); err != nil {
				return err
			}
		}
		*out = u
		tx.appendEvent(e)
		return nil
	})
}

// DeleteUser deletes a user and all that is theirs (management-api.md §14,
// SEC-236). Ended families stay for 30 days, without the user, so that their
// values are still recognised (D4).
func (s *Store) DeleteUser(ctx context.Context, d tenant.Deletion) error {
	return s.write(ctx, d.TenantID, "user "+d.ID, func(tx *Tx) error {
		if _, err := userByID(tx.ctx, tx.run, d.TenantID, d.ID); err != nil {
			return err
		}
		if err := tx.endUser(d, d.ID); err != nil {
			return err
		}
		tx.appendEvent(d.Event)
		return nil
	})
}

// UserDeleted is the RevokedReason of a family whose user is gone.
const UserDeleted = "user_deleted"

// endUser deletes one user in the transaction of d.
func (tx *Tx) endUser(d tenant.Deletion, userID string) error {
	rows, err := tx.query(`
		UPDATE refresh_tokens SET revoked_at = $3, revoked_reason = $4
		 WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL
		RETURNING `+familyColumns,
		d.TenantID, userID, millis(d.At), UserDeleted)
	ended, err := all(rows, err, scanFamily)
	if err != nil {
		return err
	}
	for _, f := range ended {
		if err := tx.denyFamilies(d.TenantID, []tenant.FamilyID{f.ID}, d.FamilyHash, d.DeniedUntil); err != nil {
			return err
		}
		tx.appendEvent(tenant.Event{ // for its timeline; it does not name the user
			At: d.At, Type: audit.RefreshRevoked, Description: audit.Description(audit.RefreshRevoked), Reason: UserDeleted,
			FamilyID: f.ID, Generation: f.Generation, ClientID: f.ClientID, Audience: f.Audience, Origin: d.Event.Origin,
		})
	}
	if _, err := tx.exec(`
		UPDATE refresh_tokens SET user_id = '', session_id = '', consent_id = '', device = '{}', metadata = '{}'
		 WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NOT NULL`, d.TenantID, userID); err != nil {
		return err
	}
	if err := tx.execAll([]any{d.TenantID, userID},
		`DELETE FROM sessions WHERE tenant_id = $1 AND user_id = $2`,
		`DELETE FROM codes WHERE tenant_id = $1 AND user_id = $2`,
		`DELETE FROM device_codes WHERE tenant_id = $1 AND user_id = $2`,
		`DELETE FROM login_transactions WHERE tenant_id = $1 AND user_id = $2`,
		`DELETE FROM consents WHERE tenant_id = $1 AND user_id = $2`,
		`DELETE FROM users WHERE tenant_id = $1 AND user_id = $2`,
	); err != nil {
		return err
	}
	return tx.mark(d.TenantID, tenant.MarkSubject{Kind: "user", ID: userID}, d.At, d.DeniedUntil)
}
