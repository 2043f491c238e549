package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/config"
	"github.com/bulla-auth/bulla/verify"
)

const ownRequestTimeout = 15 * time.Second

// Inspection is what a token says, unverified.
type Inspection struct {
	Kind    string          `json:"kind"`
	Header  json.RawMessage `json:"header,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// InspectToken decodes a token. It verifies nothing: whoever shows the answer to
// a person says so.
func InspectToken(raw string) (Inspection, error) {
	raw = strings.TrimSpace(raw)
	if strings.HasPrefix(raw, "brt_") {
		return Inspection{Kind: "refresh token: it says nothing to anybody but its issuer"}, nil
	}
	header, payload, err := verify.DecodeUnverified(raw)
	if err != nil {
		return Inspection{}, errors.New("not a JWT; an access token without an audience is opaque and says nothing to anybody but its issuer")
	}
	return Inspection{Kind: "JWT, NOT VERIFIED", Header: header, Payload: payload}, nil
}

// Verified are the claims of a token that the issuer's keys have signed.
type Verified struct {
	Issuer   string
	Audience []string
	Claims   json.RawMessage
}

// VerifyToken checks a JWT as a resource server would: with our own SDK, against
// the published keys of the configured issuer. An empty audience takes the
// token's word for whom it is meant for, which a resource server must not.
func VerifyToken(ctx context.Context, cfg config.Config, raw, audience string) (Verified, error) {
	raw = strings.TrimSpace(raw)
	accepted := []string{audience}
	if audience == "" {
		accepted = claimedAudience(raw)
		if len(accepted) == 0 {
			return Verified{}, errors.New("not valid: not a JWT with an audience")
		}
	}
	client, err := ownClient(cfg)
	if err != nil {
		return Verified{}, err
	}
	v, err := verify.New(verify.Options{
		Issuer: cfg.Issuer(), Audience: accepted, Algorithms: []string{"RS256", "RS512", "PS256", "ES256", "EdDSA"}, HTTPClient: client,
	})
	if err != nil {
		return Verified{}, err
	}
	claims, err := v.Verify(ctx, raw)
	switch {
	case errors.Is(err, verify.ErrInvalidToken):
		return Verified{}, fmt.Errorf("not valid: %s", strings.TrimPrefix(err.Error(), "verify: "))
	case err != nil:
		return Verified{}, fmt.Errorf("nothing is known about the token: %w; check that the issuer runs at %s", err, cfg.Issuer())
	}
	return Verified{Issuer: claims.Issuer(), Audience: claims.Audience(), Claims: claims.Raw()}, nil
}

// claimedAudience is aud of a token that nobody has checked yet.
func claimedAudience(raw string) []string {
	_, payload, err := verify.DecodeUnverified(raw)
	if err != nil {
		return nil
	}
	var one struct {
		Audience string `json:"aud"`
	}
	if json.Unmarshal(payload, &one) == nil && one.Audience != "" {
		return []string{one.Audience}
	}
	var many struct {
		Audience []string `json:"aud"`
	}
	if json.Unmarshal(payload, &many) != nil {
		return nil
	}
	return many.Audience
}

// ownClient trusts the local authority, or with a configured certificate what
// the machine trusts.
func ownClient(cfg config.Config) (*http.Client, error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	if ca := caFile(cfg); ca != "" {
		pool, err := authorityPool(ca)
		if err != nil {
			return nil, fmt.Errorf("the local authority: %w; run bulla serve once, or name the data directory with --data", err)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{Transport: transport, Timeout: ownRequestTimeout}, nil
}
