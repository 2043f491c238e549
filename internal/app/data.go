package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	"github.com/bulla-auth/bulla/internal/config"
	"github.com/bulla-auth/bulla/internal/seal"
	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// databaseFile is the embedded store in the data directory.
const databaseFile = "bulla.db"

// data is the opened installation: the store and the key that seals what is in it.
type data struct {
	store *store.Store
	vault *seal.Vault
	// master is needed to found a tenant.
	master  seal.Master
	tenants []tenant.Tenant
}

// openData opens what o.Config names. When the store is empty and create is set, the
// data directory and the master key are made; otherwise nothing is written that
// was not there. Every refusal is one line that says what to do.
//
// A store whose master key is missing or another's is left as it is: a new key
// would make everything in it unreadable (SEC-138). commits may be nil.
func openData(ctx context.Context, o Options, create bool, commits func() func(int)) (*data, error) {
	cfg, log := o.Config, o.Logger
	exists, err := checkDirectory(cfg.Data, log)
	if err != nil {
		return nil, err
	}
	d := &data{}
	if cfg.Embedded() {
		if err := d.beforeEmbedded(cfg, exists, create); err != nil {
			return nil, err
		}
	}
	d.store, err = store.Open(ctx, store.Options{
		URL: cfg.DatabaseURL, Path: filepath.Join(cfg.Data, databaseFile), Clock: o.Clock, Logger: log, Commits: commits,
	})
	if err != nil {
		return nil, storeError(cfg, err)
	}
	if err := d.unlock(ctx, cfg, create); err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	return d, nil
}

// beforeEmbedded makes what the embedded store needs before it is opened. The
// master key comes before the database, so that a database without one has lost
// it and was not merely interrupted while it began.
func (d *data) beforeEmbedded(cfg config.Config, exists, create bool) error {
	_, err := os.Stat(filepath.Join(cfg.Data, databaseFile))
	switch {
	case exists && err == nil:
		d.master, err = seal.OpenMasterFile(cfg.MasterKeyFile)
		return err
	case exists && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("data directory %s: %w; give this user access to it", cfg.Data, pathCause(err))
	case !create:
		return fmt.Errorf("there is no data in %s; run bulla serve once, or name the directory with --data", cfg.Data)
	}
	return d.firstMaster(cfg)
}

// firstMaster opens the master key that the operator put there, or makes one.
func (d *data) firstMaster(cfg config.Config) error {
	if err := makeDirectory(cfg.Data); err != nil {
		return err
	}
	_, err := os.Lstat(cfg.MasterKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		d.master, err = seal.CreateMasterFile(cfg.MasterKeyFile)
	} else {
		d.master, err = seal.OpenMasterFile(cfg.MasterKeyFile)
	}
	return err
}

// unlock proves that the master key is the store's. Nodes that share a database
// have to be given the key; only the first one makes it.
func (d *data) unlock(ctx context.Context, cfg config.Config, create bool) error {
	var err error
	if d.tenants, err = d.store.Tenants(ctx); err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	switch {
	case len(d.tenants) == 0 && !create:
		return errors.New("there is no tenant in the store; run bulla serve once")
	case d.master != nil:
	case len(d.tenants) == 0:
		err = d.firstMaster(cfg)
	default:
		d.master, err = seal.OpenMasterFile(cfg.MasterKeyFile)
	}
	if err != nil {
		return err
	}
	if create { // with PostgreSQL and a key from elsewhere it may still be missing
		if err := makeDirectory(cfg.Data); err != nil {
			return err
		}
	}
	d.vault = seal.NewVault(d.master)
	for _, t := range d.tenants {
		if _, err := d.vault.Derive(ctx, t, seal.LabelClientSecret); err != nil {
			return fmt.Errorf("master key %s: %w; put the key file back that belongs to this data", cfg.MasterKeyFile, err)
		}
	}
	return nil
}

// belongs tells whether there is a tenant of the configured domain.
func (d *data) belongs(cfg config.Config) error {
	for _, t := range d.tenants {
		if t.Domain == cfg.Domain {
			return nil
		}
	}
	return fmt.Errorf("this data belongs to the domain %s, not to %s; set BULLA_DOMAIN=%s, or choose another data directory: the domain is in every token and cannot be changed",
		d.tenants[0].Domain, cfg.Domain, d.tenants[0].Domain)
}

// checkDirectory tells whether dir is there and can be used. Others must not be
// able to write into it; that they can list it only gets a warning, since each
// file in it is protected by itself.
func checkDirectory(dir string, log *slog.Logger) (exists bool, err error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("data directory %s: %w; give this user access to it, or name another with --data", dir, pathCause(err))
	case !info.IsDir():
		return false, fmt.Errorf("data directory %s is not a directory; name another with --data", dir)
	case info.Mode().Perm()&0o022 != 0:
		return false, fmt.Errorf("others may write to the data directory %s (mode %04o); run chmod 700 on it", dir, info.Mode().Perm())
	case info.Mode().Perm()&0o055 != 0:
		log.Warn("others may list the data directory; run chmod 700 on it", "directory", dir)
	}
	if err := writable(dir); err != nil {
		return false, fmt.Errorf("data directory %s: %w; make it writable for this user, or name another with --data", dir, pathCause(err))
	}
	return true, nil
}

// writable finds out by writing, because neither mode bits nor a read-only mount
// tell the whole truth.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".write-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func makeDirectory(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory %s: %w; name another with --data", dir, pathCause(err))
	}
	return nil
}

// pathCause is the reason without the operation and the path, which the message
// names already.
func pathCause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// storeError is one line that says what to do about a store that does not open.
// The address of a database is never in it: there may be a password in that
// (SEC-230).
func storeError(cfg config.Config, err error) error {
	switch {
	case errors.Is(err, store.ErrInUse):
		return fmt.Errorf("another process uses the data in %s; stop it, or choose another directory with --data", cfg.Data)
	case cfg.Embedded():
		return fmt.Errorf("open the store: %w", err)
	}
	host := "the database"
	if u, perr := url.Parse(cfg.DatabaseURL); perr == nil && u.Host != "" {
		host = "the database at " + u.Host
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("%s: its certificate is not trusted; name its authority with sslrootcert in BULLA_DATABASE_URL", host)
	}
	return fmt.Errorf("%s: %w; check that it runs and that BULLA_DATABASE_URL is right", host, err)
}
