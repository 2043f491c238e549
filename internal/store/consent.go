package store

import (
	"context"
	"slices"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/tenant"
)

const consentColumns = `tenant_id, id, user_id, client_id, audience, scopes, created_at, updated_at`

func scanConsent(row scanner) (tenant.Consent, error) {
	var c tenant.Consent
	err := row.Scan(&c.TenantID, &c.ID, &c.UserID, &c.ClientID, &c.Audience, jsonOf{&c.Scopes}, instant{&c.CreatedAt}, instant{&c.UpdatedAt})
	return c, err
}

// Consent finds what a user allowed a client for an audience.
func (s *Store) Consent(ctx context.Context, tenantID, userID, clientID, audience string) (tenant.Consent, error) {
	return consentOf(ctx, s.read, tenantID, userID, clientID, audience)
}

func consentOf(ctx context.Context, run runner, tenantID, userID, clientID, audience string) (tenant.Consent, error) {
	rows, err := run.query(ctx, `
		SELECT `+consentColumns+` FROM consents WHERE tenant_id = $1 AND user_id = $2 AND client_id = $3 AND audience = $4`,
		tenantID, userID, clientID, audience)
	return one(rows, err, scanConsent)
}

// widenConsent inserts the consent, or adds its scopes to the one there is, and
// returns what is kept.
func (tx *Tx) widenConsent(c tenant.Consent) (tenant.Consent, error) {
	rows, err := tx.query(`
		SELECT `+consentColumns+` FROM consents WHERE tenant_id = $1 AND user_id = $2 AND client_id = $3 AND audience = $4`,
		c.TenantID, c.UserID, c.ClientID, c.Audience)
	kept, err := all(rows, err, scanConsent)
	if err != nil {
		return c, err
	}
	if len(kept) == 0 {
		_, err := tx.exec(`INSERT INTO consents (`+consentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			c.TenantID, c.ID, c.UserID, c.ClientID, c.Audience, jsonText(c.Scopes), millis(c.CreatedAt), millis(c.UpdatedAt))
		return c, err
	}
	k := kept[0]
	for _, scope := range c.Scopes {
		if !slices.Contains(k.Scopes, scope) {
			k.Scopes = append(k.Scopes, scope)
		}
	}
	k.UpdatedAt = latest(k.UpdatedAt, c.UpdatedAt)
	return k, tx.must(`
		UPDATE consents SET scopes = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2`,
		k.TenantID, k.ID, jsonText(k.Scopes), millis(k.UpdatedAt))
}

func consentWhere(tenantID string, f tenant.ConsentFilter) *where {
	w := newWhere(tenantID)
	w.equal("id", f.ID)
	w.equal("user_id", f.UserID)
	w.equal("client_id", f.ClientID)
	w.equal("audience", f.Audience)
	return w
}

// Consents lists consents, oldest first.
func (s *Store) Consents(ctx context.Context, tenantID string, f tenant.ConsentFilter, p tenant.Page) (tenant.List[tenant.Consent], error) {
	return list(ctx, s.read, listing[tenant.Consent]{
		columns: consentColumns, table: "consents", key: createdThenID("id"), scan: scanConsent,
		position: func(c tenant.Consent) []string { return age(c.CreatedAt.UnixMilli(), c.ID) },
	}, consentWhere(tenantID, f), p)
}

// DeleteConsents deletes the consents that match and ends the families of their
// user, client and audience. ErrNotFound when f names one that does not exist;
// a filter that names nothing is refused.
func (s *Store) DeleteConsents(ctx context.Context, tenantID string, f tenant.ConsentFilter, d tenant.Deletion) error {
	if f == (tenant.ConsentFilter{}) {
		return tenant.ErrQuery
	}
	return s.write(ctx, tenantID, "user "+f.UserID, func(tx *Tx) error {
		found, err := list(tx.ctx, tx.run, listing[tenant.Consent]{
			columns: consentColumns, table: "consents", key: createdThenID("id"), scan: scanConsent,
		}, consentWhere(tenantID, f), tenant.Page{})
		if err != nil {
			return err
		}
		if len(found.Items) == 0 && f.ID != "" {
			return tenant.ErrNotFound
		}
		for _, c := range found.Items {
			if err := tx.endConsent(c, d); err != nil {
				return err
			}
		}
		tx.appendEvent(d.Event)
		return nil
	})
}

// endConsent deletes a consent and ends the families issued under it, each with
// its event, and the access tokens that came of it without a family.
func (tx *Tx) endConsent(c tenant.Consent, d tenant.Deletion) error {
	if _, err := tx.exec(`DELETE FROM consents WHERE tenant_id = $1 AND id = $2`, c.TenantID, c.ID); err != nil {
		return err
	}
	reason := orText(d.Reason, "consent_deleted")
	rows, err := tx.query(`
		UPDATE refresh_tokens SET revoked_at = $5, revoked_reason = $6
		 WHERE tenant_id = $1 AND user_id = $2 AND client_id = $3 AND audience = $4 AND revoked_at IS NULL
		RETURNING id, generation`,
		c.TenantID, c.UserID, c.ClientID, c.Audience, millis(d.At), reason)
	type family struct {
		id         tenant.FamilyID
		generation uint32
	}
	ended, err := all(rows, err, func(row scanner) (f family, err error) {
		err = row.Scan(&f.id, &f.generation)
		return f, err
	})
	if err != nil {
		return err
	}
	for _, f := range ended {
		if err := tx.denyFamilies(c.TenantID, []tenant.FamilyID{f.id}, d.FamilyHash, d.DeniedUntil); err != nil {
			return err
		}
		tx.appendEvent(tenant.Event{
			At: d.At, Type: audit.RefreshRevoked, Description: audit.Description(audit.RefreshRevoked), Reason: reason, FamilyID: f.id, Generation: f.generation,
			UserID: c.UserID, ClientID: c.ClientID, Audience: c.Audience, Origin: d.Event.Origin,
		})
	}
	return tx.denyIssuedUnder(c, d)
}

// denyIssuedUnder ends the access tokens of a consent that no family holds. Those
// whose code is still known are named; older ones are under a mark. It is no
// second ahead: a user who takes a consent back and gives it again gets tokens
// that count, and what the mark misses of this very second, the codes name.
func (tx *Tx) denyIssuedUnder(c tenant.Consent, d tenant.Deletion) error {
	err := tx.denyCodes(d, c.TenantID, c.UserID, func(x spentCode) bool { return x.clientID == c.ClientID && x.of.Audience == c.Audience })
	if err != nil {
		return err
	}
	subject := tenant.MarkSubject{Kind: tenant.ConsentMark, ID: tenant.ConsentMarkID(c.UserID, c.ClientID, c.Audience)}
	return tx.markBefore(c.TenantID, subject, latest(tx.now, d.At).Truncate(time.Second), d.DeniedUntil)
}

// spentCode is a code that issued access tokens and no family.
type spentCode struct {
	hash, clientID string
	of             struct {
		Audience  string `json:"audience"`
		SessionID string `json:"session_id"`
	}
}

// denyCodes puts the access tokens of a user's spent codes that match on the
// denylist, as long as the codes are kept.
func (tx *Tx) denyCodes(d tenant.Deletion, tenantID, userID string, match func(spentCode) bool) error {
	if d.FamilyHash == nil {
		return nil
	}
	for _, codes := range []struct{ statement, authorization string }{
		{`SELECT hash, client_id, document FROM codes WHERE tenant_id = $1 AND user_id = $2 AND redeemed_at IS NOT NULL AND family_id = ''`, tenant.CodeAuthorization},
		{`SELECT hash, client_id, document FROM device_codes WHERE tenant_id = $1 AND user_id = $2 AND redeemed_at IS NOT NULL AND family_id = ''`, tenant.DeviceAuthorization},
	} {
		rows, err := tx.query(codes.statement, tenantID, userID)
		spent, err := all(rows, err, func(row scanner) (x spentCode, err error) {
			err = row.Scan(&x.hash, &x.clientID, jsonOf{&x.of})
			return x, err
		})
		if err != nil {
			return err
		}
		for _, x := range spent {
			if !match(x) {
				continue
			}
			hash := d.FamilyHash(tenant.FamilyID(codes.authorization + x.hash))
			if err := tx.denyFor(tenantID, hash, d.DeniedUntil, audienceList(x.of.Audience)); err != nil {
				return err
			}
		}
	}
	return nil
}

func audienceList(audience string) []string {
	if audience == "" {
		return []string{}
	}
	return []string{audience}
}
