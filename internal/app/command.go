package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/management"
	"github.com/bulla-auth/bulla/internal/password"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// Credentials are a machine client that may use the Management API.
type Credentials struct {
	Issuer string `json:"issuer"`
	// CAFile is empty when the server has a certificate of its own.
	CAFile       string `json:"ca_file"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// NewUser is a user to make in the default database connection.
type NewUser struct {
	Email         string `json:"email"`
	Password      string `json:"password"`
	Administrator bool   `json:"administrator"`
}

// User is one that was made.
type User struct {
	ID    string `json:"user_id"`
	Email string `json:"email"`
}

// Key is a signing key as the operator sees it.
type Key struct {
	Kid          string    `json:"kid"`
	Algorithm    string    `json:"algorithm"`
	State        string    `json:"state"`
	CreatedAt    time.Time `json:"created_at"`
	CurrentSince time.Time `json:"current_since,omitzero"`
	CurrentUntil time.Time `json:"current_until,omitzero"`
	RevokedAt    time.Time `json:"revoked_at,omitzero"`
	// Tokens is how many live tokens the key has signed, at most; NeededUntil is
	// when the last one ends, of a key that no longer signs.
	Tokens      int64     `json:"tokens"`
	NeededUntil time.Time `json:"needed_until,omitzero"`
}

type (
	clientRequest struct {
		Name string `json:"name"`
	}
	emptyRequest  struct{}
	rotateRequest struct {
		Force bool `json:"force"`
	}
	importRequest struct {
		Key   string `json:"key"`
		Kid   string `json:"kid"`
		State string `json:"state"`
	}
	keyRequest struct {
		Kid   string `json:"kid"`
		Force bool   `json:"force"`
	}
	// status is what a running server says of itself to doctor.
	status struct {
		Version string `json:"version"`
		Engine  string `json:"engine,omitempty"`
		Schema  int64  `json:"schema,omitempty"`
		// Store is empty, or what is wrong with the store.
		Store string `json:"store,omitempty"`
	}
)

// Names of the operations, on the socket too.
const (
	opManagementClient = "management-client"
	opUserCreate       = "user-create"
	opKeysList         = "keys-list"
	opKeysRotate       = "keys-rotate"
	opKeysRevoke       = "keys-revoke"
	opKeysRestore      = "keys-restore"
	opKeysImport       = "keys-import"
	opStatus           = "status"
)

// operator carries operations out on an open store.
type operator struct {
	data       *data
	management *management.API
	ring       *token.Ring
	opts       Options
}

func (a *App) operations() operations {
	return (&operator{data: a.data, management: a.parts.management, ring: a.parts.ring, opts: a.opts}).operations()
}

func (o *operator) operations() operations {
	return operations{
		opManagementClient: operation(o.managementClient),
		opUserCreate:       operation(o.createUser),
		opKeysList:         operation(o.keys),
		opKeysRotate:       operation(o.rotateKeys),
		opKeysRevoke:       operation(o.revokeKey),
		opKeysRestore:      operation(o.restoreKey),
		opKeysImport:       operation(o.importKey),
		opStatus:           operation(o.status),
	}
}

func (o *operator) managementClient(ctx context.Context, in clientRequest) (Credentials, error) {
	t, err := o.data.tenantNow(ctx, o.opts.Config)
	if err != nil {
		return Credentials{}, err
	}
	id, secret, err := o.management.MachineClient(ctx, t, in.Name)
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{Issuer: t.Issuer(), CAFile: caFile(o.opts.Config), ClientID: id, ClientSecret: secret}, nil
}

func (o *operator) createUser(ctx context.Context, in NewUser) (User, error) {
	t, err := o.data.tenantNow(ctx, o.opts.Config)
	if err != nil {
		return User{}, err
	}
	u, err := o.management.CreateUser(ctx, t, in.Email, in.Password, in.Administrator)
	if err != nil {
		return User{}, err
	}
	return User{ID: u.ID, Email: u.Email}, nil
}

func (o *operator) keys(ctx context.Context, _ emptyRequest) ([]Key, error) {
	t, err := o.data.tenantNow(ctx, o.opts.Config)
	if err != nil {
		return nil, err
	}
	keys, err := o.data.store.SigningKeys(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	if err := o.ring.Flush(ctx); err != nil {
		return nil, err
	}
	hanging, err := o.data.keyring(o.opts.Clock).Dependents(ctx, t)
	if err != nil {
		return nil, err
	}
	out := make([]Key, len(keys))
	for i, k := range keys {
		out[i] = Key{
			Kid: k.Kid, Algorithm: k.Algorithm, State: string(k.State),
			CreatedAt: k.CreatedAt, CurrentSince: k.CurrentSince, CurrentUntil: k.CurrentUntil, RevokedAt: k.RevokedAt,
			Tokens: hanging[k.Kid].Tokens, NeededUntil: hanging[k.Kid].Until,
		}
	}
	return out, nil
}

func (o *operator) rotateKeys(ctx context.Context, in rotateRequest) ([]Key, error) {
	t, err := o.data.tenantNow(ctx, o.opts.Config)
	if err != nil {
		return nil, err
	}
	_, err = o.data.keyring(o.opts.Clock).Rotate(ctx, t, in.Force, keyEvent(o.opts.Clock))
	var early *token.EarlyError
	if errors.As(err, &early) {
		return nil, fmt.Errorf("%w; wait, or use --force", err)
	}
	if err != nil {
		return nil, err
	}
	return o.keys(ctx, emptyRequest{})
}

func (o *operator) revokeKey(ctx context.Context, in keyRequest) (emptyRequest, error) {
	t, err := o.data.tenantNow(ctx, o.opts.Config)
	if err != nil {
		return emptyRequest{}, err
	}
	if err := o.ring.Flush(ctx); err != nil { // so that the answer counts what was just signed
		return emptyRequest{}, err
	}
	_, err = o.data.keyring(o.opts.Clock).Revoke(ctx, t, in.Kid, in.Force, keyEvent(o.opts.Clock))
	var needed *token.NeededError
	if errors.As(err, &needed) {
		return emptyRequest{}, fmt.Errorf("%w; wait, or end them with --force", err)
	}
	return emptyRequest{}, keyError(err, in.Kid)
}

func (o *operator) restoreKey(ctx context.Context, in keyRequest) (emptyRequest, error) {
	t, err := o.data.tenantNow(ctx, o.opts.Config)
	if err != nil {
		return emptyRequest{}, err
	}
	return emptyRequest{}, keyError(o.data.keyring(o.opts.Clock).Restore(ctx, t, in.Kid, keyEvent(o.opts.Clock)), in.Kid)
}

func (o *operator) importKey(ctx context.Context, in importRequest) ([]Key, error) {
	t, err := o.data.tenantNow(ctx, o.opts.Config)
	if err != nil {
		return nil, err
	}
	key, kid, err := token.ParsePrivateKey([]byte(in.Key))
	if err != nil {
		return nil, err
	}
	switch {
	case in.Kid == "" && kid == "":
		return nil, errors.New("the key names no kid; give the one the other issuer publishes it under with --kid")
	case in.Kid == "":
		in.Kid = kid
	case kid != "" && kid != in.Kid:
		return nil, fmt.Errorf("the key names another kid than --kid does; leave --kid out")
	}
	if err := o.data.keyring(o.opts.Clock).Import(ctx, t, key, in.Kid, tenant.KeyState(in.State), keyEvent(o.opts.Clock)); err != nil {
		return nil, err
	}
	return o.keys(ctx, emptyRequest{})
}

func keyError(err error, kid string) error {
	if errors.Is(err, tenant.ErrNotFound) {
		return fmt.Errorf("there is no signing key %q; see bulla keys list", kid)
	}
	return err
}

func (o *operator) status(ctx context.Context, _ emptyRequest) (status, error) {
	s := status{Version: o.opts.Build.Version}
	in, err := o.data.store.Inspect(ctx)
	if err == nil {
		err = o.data.store.Ping(ctx)
	}
	if err != nil {
		s.Store = err.Error()
	}
	s.Engine, s.Schema = in.Engine, in.Schema
	return s, nil
}

// Admin is the command line's way to the data: through the running server, which
// is the one writer, or by opening the store itself when none runs (D12).
type Admin struct{ opts Options }

// NewAdmin is an Admin for the configured data directory. It opens nothing yet.
func NewAdmin(o Options) *Admin { return &Admin{opts: o.withDefaults()} }

// ManagementClient makes the machine client of this name with every scope of the
// Management API, or rotates its secret when it is there.
func (a *Admin) ManagementClient(ctx context.Context, name string) (Credentials, error) {
	return ask[Credentials](ctx, a, opManagementClient, clientRequest{Name: name})
}

// CreateUser makes a user in the default database connection.
func (a *Admin) CreateUser(ctx context.Context, u NewUser) (User, error) {
	return ask[User](ctx, a, opUserCreate, u)
}

// Keys lists the signing keys, newest first.
func (a *Admin) Keys(ctx context.Context) ([]Key, error) {
	return ask[[]Key](ctx, a, opKeysList, emptyRequest{})
}

// RotateKeys replaces the keys that sign by the next ones and lists the keys. A
// next key that verifiers may not know yet is an error that says when it can be
// used, unless force is set.
func (a *Admin) RotateKeys(ctx context.Context, force bool) ([]Key, error) {
	return ask[[]Key](ctx, a, opKeysRotate, rotateRequest{Force: force})
}

// RevokeKey removes a previous key from the key set; while tokens need it only
// with force.
func (a *Admin) RevokeKey(ctx context.Context, kid string, force bool) error {
	_, err := ask[emptyRequest](ctx, a, opKeysRevoke, keyRequest{Kid: kid, Force: force})
	return err
}

// ImportKey puts a private key of another issuer, PEM or JWK, on the ring as
// current, next or previous, under kid or the kid it names, and lists the keys.
func (a *Admin) ImportKey(ctx context.Context, key []byte, kid, state string) ([]Key, error) {
	return ask[[]Key](ctx, a, opKeysImport, importRequest{Key: string(key), Kid: kid, State: state})
}

// RestoreKey publishes a revoked key again; it does not sign.
func (a *Admin) RestoreKey(ctx context.Context, kid string) error {
	_, err := ask[emptyRequest](ctx, a, opKeysRestore, keyRequest{Kid: kid})
	return err
}

func ask[Out any](ctx context.Context, a *Admin, name string, in any) (Out, error) {
	var out Out
	raw, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	answer, err := callSocket(ctx, a.opts.Config.Data, name, raw)
	if errors.Is(err, errNotRunning) {
		answer, err = a.callHere(ctx, name, raw)
	}
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, fmt.Errorf("the running server's answer: %w; use the same version of both", err)
	}
	return out, nil
}

// callHere opens the store for one operation.
func (a *Admin) callHere(ctx context.Context, name string, raw json.RawMessage) (answer json.RawMessage, err error) {
	d, err := openData(ctx, a.opts, false, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.store.Close()) }()
	ring := token.NewRing(d.store, d.vault)
	hasher := password.NewHasher(password.Options{Rand: a.opts.Rand})
	o := &operator{data: d, opts: a.opts, ring: ring, management: newManagement(d, d.store, ring, hasher, nobody{}, a.opts, nil)}
	result, err := o.operations()[name](ctx, raw)
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

// nobody authenticates no token: a command presents none.
type nobody struct{}

func (nobody) Authenticate(context.Context, tenant.Tenant, string) (tenant.Claims, error) {
	return tenant.Claims{}, tenant.ErrTokenInvalid
}

// NewPassword is a random password of 130 bits that the strictest policy accepts.
func NewPassword() (string, error) {
	for {
		t := rand.Text() // 26 characters, 5 bits each (crypto/rand)
		p := strings.ToLower(t[:13]) + "-" + t[13:]
		r, err := (password.Policy{Level: "excellent"}).Check(p)
		if err != nil {
			return "", err
		}
		if r.Name == "" { // some have three identical characters in a row
			return p, nil
		}
	}
}
