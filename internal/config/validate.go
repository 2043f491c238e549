package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Validate names the first bad key, where it was set and what to do. It looks at
// the values alone; whether a file or an address can be used is found out at start.
func (c Config) Validate() error {
	checks := []struct {
		key string
		err error
	}{
		{"data", nonEmpty(c.Data, "name a directory")},
		{"listen", address(c.Listen)},
		{"domain", domain(c.Domain)},
		{"database_url", databaseURL(c.DatabaseURL)},
		{"tls_cert", together(c.TLSCert, c.TLSKey, "tls_key")},
		{"tls_key", together(c.TLSKey, c.TLSCert, "tls_cert")},
		{"master_key_file", nonEmpty(c.MasterKeyFile, "name a file")},
		{"test_tenants", alone(c.TestTenants, c.TLSCert)},
		{"ops_listen", optionalAddress(c.OpsListen, c.Listen)},
		{"trusted_proxies", networks(c.TrustedProxies)},
		{"log_level", oneOf(c.LogLevel, "debug", "info", "warn", "error")},
		{"log_format", oneOf(c.LogFormat, "text", "json")},
	}
	for _, check := range checks {
		if check.err != nil {
			return fmt.Errorf("%s: %w", c.at(check.key), check.err)
		}
	}
	return nil
}

// at is where the key was set, in the spelling of that place.
func (c Config) at(key string) string {
	if s := c.source[key]; s != "" && s != "default" {
		return s
	}
	return EnvName(key)
}

func nonEmpty(value, todo string) error {
	if value == "" {
		return errors.New("empty; " + todo)
	}
	return nil
}

func address(value string) error {
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		return fmt.Errorf("%q is no address; write HOST:PORT, like localhost:8443 or :8443", value)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is no port; write a number up to 65535", port)
	}
	return nil
}

func optionalAddress(value, public string) error {
	if value == "" {
		return nil
	}
	if value == public && !strings.HasSuffix(value, ":0") {
		return errors.New("the public listener has this address; choose another port")
	}
	return address(value)
}

// domain holds the issuer to what a Host header can say and RFC 8414 §2 allows.
func domain(value string) error {
	host := value
	if strings.Contains(value, ":") {
		var port string
		var err error
		if host, port, err = net.SplitHostPort(value); err != nil || strings.Contains(port, "/") {
			return fmt.Errorf("%q is no host name; write HOST or HOST:PORT, without https:// and without a path", value)
		}
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
			return fmt.Errorf("%q is no port; write a number from 1 to 65535", port)
		}
		if n == 443 {
			return errors.New("leave :443 away: browsers do not send it, so nobody would be found under it")
		}
	}
	if net.ParseIP(host) != nil {
		return nil
	}
	if host == "" || len(host) > 253 {
		return fmt.Errorf("%q is no host name; write HOST or HOST:PORT", value)
	}
	for _, label := range strings.Split(host, ".") {
		if !validLabel(label) {
			return fmt.Errorf("%q is no host name; write HOST or HOST:PORT, without https:// and without a path", value)
		}
	}
	return nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		c := label[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// databaseURL never shows its value: there may be a password in it (SEC-230).
func databaseURL(value string) error {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New("not the address of a PostgreSQL database; write postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full")
	}
	host := u.Hostname()
	if h := u.Query().Get("host"); h != "" {
		host = h
	}
	if host == "" || strings.HasPrefix(host, "/") || Loopback(host) {
		return nil
	}
	if u.Query().Get("sslmode") != "verify-full" {
		return errors.New("the database is on another machine; add sslmode=verify-full so that its certificate is checked (SEC-221)")
	}
	return nil
}

func together(this, other, otherKey string) error {
	if this != "" && other == "" {
		return errors.New("set " + EnvName(otherKey) + " too, or neither")
	}
	return nil
}

// alone: test tenants are served at localhost, for which only the local authority
// signs.
func alone(tests bool, cert string) error {
	if tests && cert != "" {
		return errors.New("test tenants need the local authority; leave tls_cert and tls_key empty, or turn them off")
	}
	return nil
}

func networks(values []string) error {
	for _, v := range values {
		if _, err := netip.ParsePrefix(v); err == nil {
			continue
		}
		if _, err := netip.ParseAddr(v); err != nil {
			return fmt.Errorf("%q is neither an address nor a network; write 192.0.2.7 or 192.0.2.0/24", v)
		}
	}
	return nil
}

func oneOf(value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fmt.Errorf("%q; write one of %s", value, strings.Join(allowed, ", "))
}
