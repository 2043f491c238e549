package app

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/seal"
)

// CheckResult is how a check went.
type CheckResult string

// A failed check keeps the server from running, or from being safe.
const (
	CheckOK     CheckResult = "ok"
	CheckWarned CheckResult = "warn"
	CheckFailed CheckResult = "fail"
)

// Check is one line of the doctor: what was looked at, what was found, and what
// to do when it is not well.
type Check struct {
	Name   string
	Result CheckResult
	Found  string
	Todo   string
}

func ok(name, format string, args ...any) Check {
	return Check{Name: name, Result: CheckOK, Found: fmt.Sprintf(format, args...)}
}

func warned(name, todo, format string, args ...any) Check {
	return Check{Name: name, Result: CheckWarned, Found: fmt.Sprintf(format, args...), Todo: todo}
}

func failed(name string, err error) Check {
	return Check{Name: name, Result: CheckFailed, Found: err.Error()}
}

// Doctor looks for what is wrong with an installation. It changes nothing, but
// where no server runs it opens the store, which brings an older schema up to
// date.
func Doctor(ctx context.Context, o Options) []Check {
	o = o.withDefaults()
	checks := []Check{versions(o), dataDirectory(o), masterKey(o)}
	running, storeChecks := storeCheck(ctx, o)
	checks = append(checks, storeChecks...)
	return append(checks, certificateCheck(o), domainCheck(ctx, o), portCheck(ctx, o, running), clockCheck(o))
}

func versions(o Options) Check {
	found := fmt.Sprintf("bulla %s, %s", o.Build.Version, o.Build.Go)
	if v := engineVersion("modernc.org/sqlite"); v != "" && o.Config.Embedded() {
		found += ", modernc.org/sqlite " + v
	}
	if v := engineVersion("github.com/jackc/pgx/v5"); v != "" && !o.Config.Embedded() {
		found += ", pgx " + v
	}
	return ok("versions", "%s", found)
}

func dataDirectory(o Options) Check {
	const name = "data directory"
	exists, err := checkDirectory(o.Config.Data, o.Logger)
	switch {
	case err != nil:
		return failed(name, err)
	case !exists:
		return Check{Name: name, Result: CheckFailed, Found: o.Config.Data + " does not exist", Todo: "run bulla serve once, or name it with --data"}
	}
	if info, err := os.Stat(o.Config.Data); err == nil && info.Mode().Perm()&0o077 != 0 {
		return warned(name, "run chmod 700 on it", "%s has mode %04o", o.Config.Data, info.Mode().Perm())
	}
	for _, file := range []string{databaseFile, authorityKeyFile} {
		path := filepath.Join(o.Config.Data, file)
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			return Check{Name: name, Result: CheckFailed, Found: fmt.Sprintf("others may read %s (mode %04o)", path, info.Mode().Perm()), Todo: "run chmod 600 on it"}
		}
	}
	return ok(name, "%s, for this user alone", o.Config.Data)
}

func masterKey(o Options) Check {
	if _, err := seal.OpenMasterFile(o.Config.MasterKeyFile); err != nil {
		return failed("master key", err)
	}
	return ok("master key", "%s, for this user alone; keep a copy apart from the backups", o.Config.MasterKeyFile)
}

// storeCheck asks the running server, or opens the store: that proves the lock,
// the engine's version, the schema's and that the master key is the right one.
func storeCheck(ctx context.Context, o Options) (running bool, checks []Check) {
	const name = "store"
	raw, err := callSocket(ctx, o.Config.Data, opStatus, []byte(`{}`))
	if !errors.Is(err, errNotRunning) {
		return true, []Check{runningStore(raw, err)}
	}
	d, err := openData(ctx, o, false, nil)
	if err != nil {
		return false, []Check{failed(name, err)}
	}
	defer d.store.Close()
	if err := d.belongs(o.Config); err != nil {
		return false, []Check{failed(name, err)}
	}
	in, err := d.store.Inspect(ctx)
	if err == nil {
		err = d.store.Ping(ctx)
	}
	if err != nil {
		return false, []Check{failed(name, err)}
	}
	return false, []Check{
		ok(name, "%s, schema %d: whole, opens with this master key, can be written to; no server is running", in.Engine, in.Schema),
		ok("rows", "%s", rowCounts(in.Rows)),
	}
}

// rowCounts lists the tables by name: what grows, and what must not, is seen here.
func rowCounts(rows map[string]int64) string {
	var out []string
	for _, table := range slices.Sorted(maps.Keys(rows)) {
		out = append(out, fmt.Sprintf("%s %d", table, rows[table]))
	}
	return strings.Join(out, ", ")
}

func certificateCheck(o Options) Check {
	const name = "certificate"
	path, renew := o.Config.TLSCert, "renew it"
	if path == "" {
		path, renew = filepath.Join(o.Config.Data, authorityFile), "move it and "+authorityKeyFile+" away and start again"
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && o.Config.TLSCert == "" {
		return warned(name, "run bulla serve once", "there is no local authority yet")
	}
	if err != nil {
		return failed(name, err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return Check{Name: name, Result: CheckFailed, Found: path + " is not PEM", Todo: renew}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return failed(name, fmt.Errorf("%s: %w", path, err))
	}
	left := cert.NotAfter.Sub(clock.System{}.Now())
	until := cert.NotAfter.Format(time.DateOnly)
	switch {
	case left <= 0:
		return Check{Name: name, Result: CheckFailed, Found: path + " expired on " + until, Todo: renew}
	case o.Config.TLSCert != "" && cert.VerifyHostname(o.Config.DomainHost()) != nil:
		return Check{Name: name, Result: CheckFailed, Found: path + " is not for " + o.Config.DomainHost(), Todo: "name one for the domain"}
	case left < certificateAlarm:
		return warned(name, renew, "%s expires on %s", path, until)
	}
	return ok(name, "%s, until %s", path, until)
}

func domainCheck(ctx context.Context, o Options) Check {
	const name = "domain"
	host := o.Config.DomainHost()
	if net.ParseIP(host) != nil {
		return ok(name, "%s", o.Config.Domain)
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return warned(name, "make the name resolve, or set BULLA_DOMAIN", "%s does not resolve on this machine", host)
	}
	return ok(name, "%s is %s", o.Config.Domain, addresses[0])
}

// portCheck asks the running server as a client would, by its name; without one
// it tries to take the address.
func portCheck(ctx context.Context, o Options, running bool) Check {
	const name = "port"
	if !running {
		ls, err := listen(o.Config.Listen)
		if err != nil {
			return failed(name, err)
		}
		closeAll(ls)
		return ok(name, "%s is free", o.Config.Listen)
	}
	client, err := ownClient(o.Config)
	if err != nil {
		return failed(name, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.Config.Issuer()+"readyz", nil)
	if err != nil {
		return failed(name, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return Check{Name: name, Result: CheckFailed, Found: err.Error(), Todo: "make the issuer's address lead to this server"}
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return Check{Name: name, Result: CheckFailed, Found: fmt.Sprintf("%s answers %s", req.URL, resp.Status), Todo: "look into the server's log"}
	}
	return ok(name, "%s is ready", o.Config.Issuer())
}

// runningStore is what the running server says of its store.
func runningStore(raw []byte, err error) Check {
	const name = "store"
	var s status
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	switch {
	case err != nil:
		return failed(name, err)
	case s.Store != "":
		return Check{Name: name, Result: CheckFailed, Found: s.Store, Todo: "look into the server's log"}
	}
	return ok(name, "%s, schema %d: whole, can be written to; a server runs (bulla %s)", s.Engine, s.Schema, s.Version)
}

// clockCheck finds a clock that went back: the files would then be of the future,
// and what had expired would be valid again (REL-26). A database's clock is
// compared when the store is opened and every minute after that.
func clockCheck(o Options) Check {
	const name, todo = "clock", "set the clock, with a time service"
	now := clock.System{}.Now()
	newest := time.Time{}
	for _, file := range []string{databaseFile, databaseFile + "-wal", authorityFile, filepath.Base(o.Config.MasterKeyFile)} {
		if info, err := os.Stat(filepath.Join(o.Config.Data, file)); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	if behind := newest.Sub(now); behind > time.Second {
		return Check{Name: name, Result: CheckFailed, Found: fmt.Sprintf("it is %v behind the newest data", behind.Round(time.Second)), Todo: todo}
	}
	return ok(name, "%s, not behind the data", now.Format(time.RFC3339))
}
