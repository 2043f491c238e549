package store

import (
	"context"
	"slices"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const familyColumns = `tenant_id, id, client_id, user_id, session_id, consent_id, audience, scopes, resource_servers,
	rotating, generation, key_version, used, attempt, previous_attempt, repeats, created_at, rotated_at, last_exchanged_at,
	idle_expires_at, expires_at, revoked_at, revoked_reason, auth_time, with_auth_time, amr, connection, grant_type, device,
	metadata, confirmation, organization, twinned, twin_run`

func scanFamily(row scanner) (tenant.RefreshToken, error) {
	var f tenant.RefreshToken
	err := row.Scan(&f.TenantID, &f.ID, &f.ClientID, &f.UserID, &f.SessionID, &f.ConsentID, &f.Audience, jsonOf{&f.Scopes}, jsonOf{&f.ResourceServers},
		flag{&f.Rotating}, &f.Generation, &f.KeyVersion, flag{&f.Used}, &f.Attempt, &f.PreviousAttempt, &f.Repeats,
		instant{&f.CreatedAt}, instant{&f.RotatedAt}, instant{&f.LastExchangedAt}, instant{&f.IdleExpiresAt}, instant{&f.ExpiresAt},
		instant{&f.RevokedAt}, &f.RevokedReason, instant{&f.AuthTime}, flag{&f.WithAuthTime}, jsonOf{&f.AMR}, &f.Connection, &f.GrantType,
		jsonOf{&f.Device}, jsonOf{&f.Metadata}, &f.Confirmation, &f.Organization, flag{&f.Twinned}, &f.TwinRun)
	return f, err
}

// RefreshToken finds a family, also one that has ended.
func (s *Store) RefreshToken(ctx context.Context, tenantID string, id tenant.FamilyID) (tenant.RefreshToken, error) {
	return familyByID(ctx, s.read, tenantID, id)
}

func familyByID(ctx context.Context, run runner, tenantID string, id tenant.FamilyID) (tenant.RefreshToken, error) {
	rows, err := run.query(ctx, `SELECT `+familyColumns+` FROM refresh_tokens WHERE tenant_id = $1 AND id = $2`, tenantID, string(id))
	return one(rows, err, scanFamily)
}

// issueKey is what issues to one user at one client queue under: each counts
// the others.
func issueKey(f tenant.RefreshToken) string {
	return "issue " + f.UserID + " " + f.ClientID
}

// IssueRefreshToken inserts a family that comes from no code; ErrConflict when
// the guard does not hold.
func (s *Store) IssueRefreshToken(ctx context.Context, issue tenant.Issue, g tenant.Guard, e tenant.Event) error {
	f := issue.Family
	return s.write(ctx, f.TenantID, issueKey(f), func(tx *Tx) error {
		if err := tx.guard(f.TenantID, g, f.CreatedAt); err != nil {
			return err
		}
		if err := tx.issue(issue); err != nil {
			return err
		}
		tx.appendEvent(e)
		return nil
	})
}

// maxEvicted bounds what one issue deletes: more than a limit can be lowered by.
const maxEvicted = 1000

// issue makes room under the limit and inserts the family: there are never more
// live ones than the limit, at any instant (SEC-112).
func (tx *Tx) issue(i tenant.Issue) error {
	f := i.Family
	limit := max(i.Limit, 1)
	rows, err := tx.query(`
		SELECT id FROM refresh_tokens
		 WHERE tenant_id = $1 AND user_id = $2 AND client_id = $3 AND revoked_at IS NULL
		   AND (expires_at IS NULL OR expires_at > $4) AND (idle_expires_at IS NULL OR idle_expires_at > $4)
		 ORDER BY created_at DESC, id DESC LIMIT $5 OFFSET $6`,
		f.TenantID, f.UserID, f.ClientID, f.CreatedAt.UnixMilli(), maxEvicted, limit-1)
	beyond, err := all(rows, err, scanOne[tenant.FamilyID])
	if err != nil {
		return err
	}
	if err := tx.denyFamilies(f.TenantID, beyond, i.FamilyHash, i.DeniedUntil); err != nil {
		return err
	}
	for _, id := range slices.Backward(beyond) { // oldest first
		if _, err := tx.exec(`DELETE FROM refresh_tokens WHERE tenant_id = $1 AND id = $2`, f.TenantID, string(id)); err != nil {
			return err
		}
		e := i.Evicted
		e.FamilyID = id
		tx.appendEvent(e)
	}
	return tx.insertFamily(f)
}

func (tx *Tx) insertFamily(f tenant.RefreshToken) error {
	_, err := tx.exec(`
		INSERT INTO refresh_tokens (`+familyColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34)`,
		f.TenantID, string(f.ID), f.ClientID, f.UserID, f.SessionID, f.ConsentID, f.Audience, jsonText(f.Scopes), jsonText(f.ResourceServers),
		bit(f.Rotating), int64(f.Generation), int64(f.KeyVersion), bit(f.Used), f.Attempt, f.PreviousAttempt, f.Repeats,
		millis(f.CreatedAt), millis(f.RotatedAt), millis(f.LastExchangedAt), millis(f.IdleExpiresAt), millis(f.ExpiresAt),
		millis(f.RevokedAt), f.RevokedReason, millis(f.AuthTime), bit(f.WithAuthTime), jsonText(f.AMR), f.Connection, f.GrantType,
		jsonText(f.Device), jsonText(f.Metadata), f.Confirmation, f.Organization, bit(f.Twinned), f.TwinRun)
	return err
}

// The statements of an exchange. Each WHERE clause is the only guard between two
// requests that carry the same token: the second finds the row other than it was
// judged and gets tenant.ErrConflict (SEC-114). A Keep and a Replay do not ask
// for what others of their kind change, so any number of them succeed.
const (
	rotateFamily = `
		UPDATE refresh_tokens
		   SET generation = generation + 1, rotating = $6, key_version = $7, used = 0, previous_attempt = attempt, attempt = $8, repeats = 0,
		       twin_run = CASE WHEN twinned = 1 THEN twin_run ELSE 0 END, twinned = 0,
		       rotated_at = $9, last_exchanged_at = $9, idle_expires_at = $10, expires_at = $11, device = COALESCE($12, device)
		 WHERE tenant_id = $1 AND id = $2 AND generation = $3 AND rotating = $4 AND used = $5 AND revoked_at IS NULL`
	keepFamily = `
		UPDATE refresh_tokens
		   SET used = 1, last_exchanged_at = $5, idle_expires_at = $6, expires_at = $7, device = COALESCE($8, device)
		 WHERE tenant_id = $1 AND id = $2 AND generation = $3 AND rotating = $4 AND revoked_at IS NULL`
	replayFamily = `
		UPDATE refresh_tokens
		   SET repeats = repeats + 1, last_exchanged_at = $5, idle_expires_at = $6, expires_at = $7, device = COALESCE($8, device),
		       twin_run = twin_run + CASE WHEN CAST($9 AS BIGINT) > twinned THEN 1 ELSE 0 END,
		       twinned = CASE WHEN CAST($9 AS BIGINT) > twinned THEN 1 ELSE twinned END
		 WHERE tenant_id = $1 AND id = $2 AND generation = $3 AND rotating = $4 AND used = 0 AND repeats < 100 AND revoked_at IS NULL`
)

// RotateRefreshToken writes one successful exchange, of any kind; ErrConflict
// when the family or what the guard names is not as judged.
func (s *Store) RotateRefreshToken(ctx context.Context, r tenant.Rotation) error {
	return s.write(ctx, r.TenantID, "family "+string(r.ID), func(tx *Tx) error {
		if err := tx.guard(r.TenantID, r.Guard, r.At); err != nil {
			return err
		}
		var device any
		if r.Device != (tenant.Device{}) {
			device = jsonText(r.Device)
		}
		judged := []any{r.TenantID, string(r.ID), int64(r.Generation), bit(r.WasRotating)}
		used := []any{millis(r.At), millis(r.IdleExpiresAt), millis(r.ExpiresAt), device}
		var err error
		switch r.Kind {
		case tenant.Rotate, tenant.Stay:
			err = tx.must(rotateFamily, append(append(judged, bit(r.Used), bit(r.NowRotating), int64(r.NewKeyVersion), r.Attempt), used...)...)
		case tenant.Keep:
			err = tx.must(keepFamily, append(judged, used...)...)
		case tenant.Replay:
			err = tx.must(replayFamily, append(append(judged, used...), bit(r.Twin))...)
		default:
			panic("store: unknown kind of rotation")
		}
		if err != nil {
			return err
		}
		if r.AddedAudience != "" || r.DropSiblings {
			if err := tx.afterRotation(r); err != nil {
				return err
			}
		}
		tx.appendEvent(r.Event)
		tx.appendEvent(r.Warning)
		return nil
	})
}

// afterRotation does the rare parts of an exchange, which need the row.
func (tx *Tx) afterRotation(r tenant.Rotation) error {
	f, err := familyByID(tx.ctx, tx.run, r.TenantID, r.ID)
	if err != nil {
		return conflictIfGone(err)
	}
	if r.AddedAudience != "" {
		if err := tx.must(`UPDATE refresh_tokens SET resource_servers = $3 WHERE tenant_id = $1 AND id = $2`,
			f.TenantID, string(f.ID), jsonText(withAudience(f.ResourceServers, r.AddedAudience, r.AddedScopes))); err != nil {
			return err
		}
	}
	if !r.DropSiblings {
		return nil
	}
	return tx.dropSiblings(f, r)
}

// dropSiblings deletes the user's other reusable families with the client and
// audience (SEC-111), with the access tokens that came of them.
func (tx *Tx) dropSiblings(f tenant.RefreshToken, r tenant.Rotation) error {
	rows, err := tx.query(`
		SELECT id FROM refresh_tokens
		 WHERE tenant_id = $1 AND user_id = $2 AND client_id = $3 AND audience = $4 AND id <> $5 AND rotating = 0 AND revoked_at IS NULL`,
		f.TenantID, f.UserID, f.ClientID, f.Audience, string(f.ID))
	siblings, err := all(rows, err, scanOne[tenant.FamilyID])
	if err != nil {
		return err
	}
	if err := tx.denyFamilies(f.TenantID, siblings, r.FamilyHash, r.DeniedUntil); err != nil {
		return err
	}
	for _, id := range siblings {
		if _, err := tx.exec(`DELETE FROM refresh_tokens WHERE tenant_id = $1 AND id = $2`, f.TenantID, string(id)); err != nil {
			return err
		}
		e := r.Dropped
		e.FamilyID = id
		tx.appendEvent(e)
	}
	return nil
}

// withAudience remembers what an exchange was for (refresh-tokens.md §11).
func withAudience(list []tenant.ResourcePolicy, audience string, scopes []string) []tenant.ResourcePolicy {
	out := slices.Clone(list)
	i := slices.IndexFunc(out, func(p tenant.ResourcePolicy) bool { return p.Audience == audience })
	if i < 0 {
		return append(out, tenant.ResourcePolicy{Audience: audience, Scope: scopes})
	}
	merged := slices.Clone(out[i].Scope)
	for _, scope := range scopes {
		if !slices.Contains(merged, scope) {
			merged = append(merged, scope)
		}
	}
	out[i].Scope = merged
	return out
}

// RevokeFamily ends a family, with the denylist entry of its access tokens and
// the event, in one commit (SEC-120). One that has ended already, or is unknown,
// changes nothing and is no error; the event is then not written.
func (s *Store) RevokeFamily(ctx context.Context, r tenant.Revocation) error {
	return s.write(ctx, r.TenantID, "family "+string(r.ID), func(tx *Tx) error {
		n, err := tx.exec(`
			UPDATE refresh_tokens SET revoked_at = $3, revoked_reason = $4
			 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL`,
			r.TenantID, string(r.ID), millis(r.At), r.Reason)
		if err != nil || n == 0 {
			return err
		}
		if err := tx.denyFamily(r.TenantID, r.ID, r.DeniedHash, r.DeniedUntil); err != nil {
			return err
		}
		if r.DeleteConsent {
			f, err := familyByID(tx.ctx, tx.run, r.TenantID, r.ID)
			if err != nil {
				return err
			}
			if err := tx.endConsentOf(f, r); err != nil {
				return err
			}
		}
		tx.appendEvent(r.Event)
		return nil
	})
}

// endConsentOf ends what a family was issued under: its consent, where there is
// one, and the families of the same user, client and audience.
func (tx *Tx) endConsentOf(f tenant.RefreshToken, r tenant.Revocation) error {
	c := tenant.Consent{TenantID: f.TenantID, ID: f.ConsentID, UserID: f.UserID, ClientID: f.ClientID, Audience: f.Audience}
	if _, err := tx.exec(`DELETE FROM consents WHERE tenant_id = $1 AND user_id = $2 AND client_id = $3 AND audience = $4`,
		f.TenantID, f.UserID, f.ClientID, f.Audience); err != nil {
		return err
	}
	return tx.endConsent(c, tenant.Deletion{
		TenantID: r.TenantID, At: r.At, Reason: r.Reason, DeniedUntil: r.DeniedUntil, FamilyHash: r.FamilyHash,
	})
}

func (s *Store) familyWhere(tenantID string, f tenant.RefreshTokenFilter) *where {
	w := newWhere(tenantID)
	w.equal("user_id", f.UserID)
	w.equal("client_id", f.ClientID)
	w.equal("audience", f.Audience)
	w.equal("session_id", f.SessionID)
	w.is("rotating", f.Rotating)
	ids := make([]string, len(f.IDs))
	for i, id := range f.IDs {
		ids[i] = string(id)
	}
	w.in("id", ids)
	if !f.IssuedUntil.IsZero() {
		w.add("created_at <= " + w.arg(f.IssuedUntil.UnixMilli()))
	}
	if !f.Ended {
		now := f.Now
		if now.IsZero() {
			now = s.opts.Clock.Now()
		}
		n := w.arg(now.UnixMilli())
		w.add("revoked_at IS NULL AND (expires_at IS NULL OR expires_at > " + n + ") AND (idle_expires_at IS NULL OR idle_expires_at > " + n + ")")
	}
	return w
}

func familyListing() listing[tenant.RefreshToken] {
	return listing[tenant.RefreshToken]{
		columns: familyColumns, table: "refresh_tokens", key: createdThenID("id"), scan: scanFamily,
		position: func(f tenant.RefreshToken) []string { return age(f.CreatedAt.UnixMilli(), string(f.ID)) },
	}
}

// RefreshTokens lists families, oldest first.
func (s *Store) RefreshTokens(ctx context.Context, tenantID string, f tenant.RefreshTokenFilter, p tenant.Page) (tenant.List[tenant.RefreshToken], error) {
	return list(ctx, s.read, familyListing(), s.familyWhere(tenantID, f), p)
}

// SetRefreshTokenMetadata replaces the metadata of a family that is not revoked.
func (s *Store) SetRefreshTokenMetadata(ctx context.Context, tenantID string, id tenant.FamilyID, metadata map[string]string, e tenant.Event) (tenant.RefreshToken, error) {
	return written(ctx, s, tenantID, "family "+string(id), func(tx *Tx, out *tenant.RefreshToken) error {
		n, err := tx.exec(`
			UPDATE refresh_tokens SET metadata = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL`,
			tenantID, string(id), jsonText(metadata))
		if err != nil {
			return err
		}
		if n == 0 {
			return tenant.ErrNotFound
		}
		if *out, err = familyByID(tx.ctx, tx.run, tenantID, id); err != nil {
			return err
		}
		tx.appendEvent(e)
		return nil
	})
}

// RevokeFamilies ends at most limit live families that match and tells how many
// it ended; callers go on until it says 0. Each has its event, with the family
// filled in.
func (s *Store) RevokeFamilies(ctx context.Context, f tenant.RefreshTokenFilter, d tenant.Deletion, limit int) (int, error) {
	f.Ended = false
	if f.Now.IsZero() {
		f.Now = d.At
	}
	return written(ctx, s, d.TenantID, "", func(tx *Tx, count *int) (err error) {
		*count, err = tx.revokeFamilies(s.familyWhere(d.TenantID, f), d, limit)
		return err
	})
}

// revokeFamilies is RevokeFamilies in a transaction.
func (tx *Tx) revokeFamilies(w *where, d tenant.Deletion, limit int) (ended int, err error) {
	found, err := list(tx.ctx, tx.run, familyListing(), w, tenant.Page{Limit: max(limit, 1)})
	if err != nil {
		return 0, err
	}
	for _, x := range found.Items {
		n, err := tx.exec(`
			UPDATE refresh_tokens SET revoked_at = $3, revoked_reason = $4
			 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL`,
			d.TenantID, string(x.ID), millis(d.At), orText(d.Reason, "revoked_by_admin"))
		if err != nil {
			return 0, err
		}
		if n == 0 {
			continue
		}
		if err := tx.denyFamilies(d.TenantID, []tenant.FamilyID{x.ID}, d.FamilyHash, d.DeniedUntil); err != nil {
			return 0, err
		}
		tx.appendEvent(ofFamily(d.Event, x))
		ended++
	}
	return ended, nil
}
