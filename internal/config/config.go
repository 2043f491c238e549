// Package config is every setting of the server: its name, its default, where it
// may be set, and what is wrong with it.
//
// A setting has one name in three spellings: database_url in the file,
// BULLA_DATABASE_URL in the environment, --database-url on the command line. The
// later of these wins: default, file, environment, flag. A key that is not in
// Config stops the start, in the file and in the environment alike, because a
// misspelled restriction is no restriction (SEC-262).
//
// The package refuses to look anything up by itself: the environment and the
// flags are handed to Load, which reads one file and nothing else. The parts of
// the server never see Config; app gives them values.
//
// The file is JSON and read with the standard library: a dozen flat keys do not
// earn a configuration library and its parsers (11 modules, 0.6 MB), and a strict
// reader of our own can name the key, where it came from and what to write instead.
package config

import (
	"net"
	"strings"
	"time"
)

// Config is the settings of one server. Its zero value is no configuration; Load
// gives one with every default filled in.
type Config struct {
	// Data is the directory for everything that has to stay: the embedded store,
	// the master key, the local certificate authority, the command socket. It is
	// made with mode 0700 when it is not there.
	// Default ./bulla-data. BULLA_DATA, --data.
	Data string `key:"data" default:"./bulla-data" help:"Data directory (./bulla-data)." placeholder:"DIR"`

	// Listen is the address of the public listener, HTTPS only: HOST:PORT.
	// localhost means both loopback addresses, an empty host all addresses.
	// Default localhost:8443. BULLA_LISTEN, --listen.
	Listen string `key:"listen" default:"localhost:8443" help:"Address of the public listener, HTTPS (localhost:8443)." placeholder:"HOST:PORT"`

	// Domain is the issuer's host name, with its port unless that is 443, as
	// clients reach it; the issuer is https://DOMAIN/. It is written into the
	// store at the first start and cannot be changed afterwards: it is in every
	// token. Default: localhost and the port of Listen. BULLA_DOMAIN, --domain.
	Domain string `key:"domain" help:"The issuer's host[:port] as clients see it (localhost and the port of --listen)." placeholder:"HOST[:PORT]"`

	// DatabaseURL is the address of a PostgreSQL database, postgres://…; empty
	// means the embedded store in Data. An address that is not this machine's
	// needs sslmode=verify-full (SEC-221). Prefer the environment to the flag,
	// which everybody on the machine can read.
	// Default empty. BULLA_DATABASE_URL, --database-url.
	DatabaseURL string `key:"database_url" help:"PostgreSQL address; empty is the embedded store." placeholder:"URL"`

	// TLSCert and TLSKey are PEM files of the certificate chain and its key. They
	// are read again when they change (SEC-222). Both or neither; neither means a
	// local authority in Data, ca.pem, which clients have to trust.
	// Default empty. BULLA_TLS_CERT, BULLA_TLS_KEY, --tls-cert, --tls-key.
	TLSCert string `key:"tls_cert" help:"Certificate chain, PEM." placeholder:"FILE"`
	TLSKey  string `key:"tls_key" help:"Key of the certificate, PEM." placeholder:"FILE"`

	// MasterKeyFile holds the key that seals all others, mode 0600. It is made at
	// the first start. Nodes that share a database are given the same file.
	// Default master.key in Data. BULLA_MASTER_KEY_FILE, --master-key-file.
	MasterKeyFile string `key:"master_key_file" help:"File of the master key (master.key in the data directory)." placeholder:"FILE"`

	// TestTenants allows tenants with a port and a clock of their own, which the
	// Management API makes, moves and drops (/api/v2/test). Never for production.
	// Default false. BULLA_TEST_TENANTS, --test-tenants.
	TestTenants bool `key:"test_tenants" help:"Allow test tenants with a virtual clock; never for production."`

	// OpsListen is the address for operators, plain HTTP: /metrics. It is never
	// to be reachable from outside (SEC-196). Empty means off.
	// Default empty. BULLA_OPS_LISTEN, --ops-listen.
	OpsListen string `key:"ops_listen" help:"Address of the operator's listener (/metrics, plain HTTP); empty is off." placeholder:"HOST:PORT"`

	// TrustedProxies are addresses or networks (CIDR) of proxies whose
	// X-Forwarded-For is believed; comma-separated in the environment and in the
	// flag, a list in the file.
	// Default none. BULLA_TRUSTED_PROXIES, --trusted-proxies.
	TrustedProxies []string `key:"trusted_proxies" help:"Addresses or networks of proxies to believe." placeholder:"ADDR"`

	// DrainDelay is how long a stopping server still takes new connections while
	// /readyz already says 503, for load balancers that look now and then. A
	// duration: 500ms, 5s.
	// Default 0. BULLA_DRAIN_DELAY, --drain-delay.
	DrainDelay time.Duration `key:"drain_delay" default:"0s" help:"How long to go on accepting after /readyz turned false." placeholder:"DURATION"`

	// LogLevel is the least level that is logged: debug, info, warn, error.
	// Default info. BULLA_LOG_LEVEL, --log-level.
	LogLevel string `key:"log_level" default:"info" help:"Least level that is logged: debug, info, warn, error (info)." placeholder:"LEVEL"`

	// LogFormat is the form of a log line on standard error: text or json.
	// Default text. BULLA_LOG_FORMAT, --log-format.
	LogFormat string `key:"log_format" default:"text" help:"Form of the log on standard error: text, json (text)." placeholder:"FORMAT"`

	// source says for each key where its value came from, for messages.
	source map[string]string
}

// DomainPort is the port in Domain; 443 when it names none.
func (c Config) DomainPort() string {
	if _, port, err := net.SplitHostPort(c.Domain); err == nil {
		return port
	}
	return "443"
}

// DomainHost is Domain without its port and without an IPv6 address's brackets.
func (c Config) DomainHost() string {
	if host, _, err := net.SplitHostPort(c.Domain); err == nil {
		return host
	}
	return strings.Trim(c.Domain, "[]")
}

// Issuer is https://DOMAIN/.
func (c Config) Issuer() string { return "https://" + c.Domain + "/" }

// Embedded tells whether the store is the embedded one.
func (c Config) Embedded() bool { return c.DatabaseURL == "" }

// Loopback tells whether host is a name or an address of this machine alone.
func Loopback(host string) bool {
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
