package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	got.source = nil
	want := Config{
		Data: "./bulla-data", Listen: "localhost:8443", Domain: "localhost:8443", MasterKeyFile: "bulla-data/master.key",
		TrustedProxies: []string{}, LogLevel: "info", LogFormat: "text",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Load of nothing = %+v, want %+v", got, want)
	}
	if got.Issuer() != "https://localhost:8443/" || got.DomainHost() != "localhost" || got.DomainPort() != "8443" {
		t.Errorf("issuer %s, host %s, port %s", got.Issuer(), got.DomainHost(), got.DomainPort())
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	file := writeFile(t, `{"listen": "localhost:1001", "data": "from-file", "log_level": "debug", "trusted_proxies": ["10.0.0.1", "10.1.0.0/16"], "drain_delay": "3s"}`)
	got, err := Load(Sources{
		File:    file,
		Environ: []string{"PATH=/bin", "BULLA_LISTEN=localhost:1002", "BULLA_DATA=from-environment"},
		Flags:   map[string]string{"listen": "localhost:1003"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "localhost:1003" || got.Data != "from-environment" || got.LogLevel != "debug" || got.LogFormat != "text" {
		t.Errorf("flag > environment > file > default: got %+v", got)
	}
	if got.Domain != "localhost:1003" {
		t.Errorf("domain follows the port of listen: got %q", got.Domain)
	}
	if want := []string{"10.0.0.1", "10.1.0.0/16"}; !reflect.DeepEqual(got.TrustedProxies, want) {
		t.Errorf("trusted proxies = %q, want %q", got.TrustedProxies, want)
	}
	if got.DrainDelay != 3*time.Second {
		t.Errorf("drain delay = %v, want 3s", got.DrainDelay)
	}
}

// A typo in every key stops the start, in the file and in the environment, and
// the message names the key that was meant (SEC-262).
func TestTypoInEveryKey(t *testing.T) {
	t.Parallel()
	for _, k := range Keys() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			typo := k.Name + "x"
			_, err := Load(Sources{File: writeFile(t, `{"`+typo+`": "1"}`)})
			if err == nil || !strings.Contains(err.Error(), typo) || !strings.Contains(err.Error(), "is it "+k.Name+"?") {
				t.Errorf("file with %s: got %v, want an error that names it and %s", typo, err, k.Name)
			}
			_, err = Load(Sources{Environ: []string{EnvName(typo) + "=1"}})
			if err == nil || !strings.Contains(err.Error(), EnvName(typo)) || !strings.Contains(err.Error(), "is it "+EnvName(k.Name)+"?") {
				t.Errorf("environment with %s: got %v, want an error that names it and %s", EnvName(typo), err, EnvName(k.Name))
			}
		})
	}
}

func TestFarFromEveryKey(t *testing.T) {
	t.Parallel()
	_, err := Load(Sources{Environ: []string{"BULLA_SOMETHING_ELSE=1"}})
	if err == nil || !strings.Contains(err.Error(), "BULLA_MASTER_KEY_FILE") {
		t.Errorf("got %v, want an error that lists the settings", err)
	}
}

func TestBadValues(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		environ []string
		want    string
	}{
		"no data":                   {[]string{"BULLA_DATA="}, "BULLA_DATA: empty; name a directory"},
		"no port":                   {[]string{"BULLA_LISTEN=localhost"}, "BULLA_LISTEN: \"localhost\" is no address"},
		"port too large":            {[]string{"BULLA_LISTEN=localhost:65536"}, "BULLA_LISTEN: \"65536\" is no port"},
		"domain with a scheme":      {[]string{"BULLA_DOMAIN=https://id.example.com"}, "BULLA_DOMAIN: \"https://id.example.com\" is no host name"},
		"domain with a path":        {[]string{"BULLA_DOMAIN=id.example.com/a"}, "is no host name"},
		"domain with port 443":      {[]string{"BULLA_DOMAIN=id.example.com:443"}, "leave :443 away"},
		"domain with an underscore": {[]string{"BULLA_DOMAIN=a_b.example.com"}, "is no host name"},
		"domain with port 08":       {[]string{"BULLA_DOMAIN=id.example.com:08"}, "is no port"},
		"not postgres":              {[]string{"BULLA_DATABASE_URL=mysql://u:hunter2@h/d"}, "not the address of a PostgreSQL database"},
		"postgres unchecked":        {[]string{"BULLA_DATABASE_URL=postgres://u:hunter2@db.example.com/d?sslmode=require"}, "add sslmode=verify-full"},
		"certificate alone":         {[]string{"BULLA_TLS_CERT=a.pem"}, "BULLA_TLS_CERT: set BULLA_TLS_KEY too"},
		"key alone":                 {[]string{"BULLA_TLS_KEY=a.pem"}, "BULLA_TLS_KEY: set BULLA_TLS_CERT too"},
		"test tenants":              {[]string{"BULLA_TEST_TENANTS=on", "BULLA_TLS_CERT=a.pem", "BULLA_TLS_KEY=a.key"}, "BULLA_TEST_TENANTS: test tenants need the local authority"},
		"neither on nor off":        {[]string{"BULLA_TEST_TENANTS=maybe"}, "BULLA_TEST_TENANTS: \"maybe\" is neither true nor false"},
		"ops on the public address": {[]string{"BULLA_OPS_LISTEN=localhost:8443"}, "BULLA_OPS_LISTEN: the public listener has this address"},
		"proxy by name":             {[]string{"BULLA_TRUSTED_PROXIES=10.0.0.1,proxy"}, "BULLA_TRUSTED_PROXIES: \"proxy\" is neither"},
		"log level":                 {[]string{"BULLA_LOG_LEVEL=loud"}, "BULLA_LOG_LEVEL: \"loud\"; write one of debug, info"},
		"log format":                {[]string{"BULLA_LOG_FORMAT=xml"}, "BULLA_LOG_FORMAT: \"xml\"; write one of text, json"},
		"duration":                  {[]string{"BULLA_DRAIN_DELAY=5"}, "BULLA_DRAIN_DELAY: \"5\" is no duration"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(Sources{Environ: tt.environ})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in %q (SEC-230)", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestGoodValues(t *testing.T) {
	t.Parallel()
	for _, e := range []string{
		"BULLA_DOMAIN=ID.example.com", "BULLA_DOMAIN=tenant.localhost:9443", "BULLA_DOMAIN=192.0.2.1:8443", "BULLA_DOMAIN=[::1]:8443",
		"BULLA_DATABASE_URL=postgres://u:p@127.0.0.1:5432/d?sslmode=disable", "BULLA_DATABASE_URL=postgres:///d?host=/run/postgresql",
		"BULLA_DATABASE_URL=postgres://u:p@db.example.com/d?sslmode=verify-full", "BULLA_LISTEN=:443", "BULLA_TEST_TENANTS=off",
	} {
		if _, err := Load(Sources{Environ: []string{e}}); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
}

func TestDomainOfListen(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{"localhost:9443": "localhost:9443", ":443": "localhost", "0.0.0.0:8443": "localhost:8443"} {
		c, err := Load(Sources{Flags: map[string]string{"listen": listen}})
		if err != nil || c.Domain != want {
			t.Errorf("listen %s: domain %q (%v), want %q", listen, c.Domain, err, want)
		}
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		`[]`:                                 "not a JSON object",
		`{"listen": "a:1"} {}`:               "something follows",
		`{"listen": "a:1", "listen": "a:2"}`: "set twice",
		`{"listen": "a:1"`:                   "closing brace",
		`{"listen": 8443}`:                   "listen in ",
		`{"trusted_proxies": [1]}`:           "write a list of strings",
		`{"domain": "https://a/"}`:           "domain in ",
		`{"domain": {"host": "a.b"}}`:        "write a string",
	} {
		_, err := Load(Sources{File: writeFile(t, content)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", content, err, want)
		}
	}
	if _, err := Load(Sources{File: filepath.Join(t.TempDir(), "none.json")}); err == nil || !strings.Contains(err.Error(), "name a file that can be read") {
		t.Errorf("missing file: got %v", err)
	}
}

// The tags are the command line's help; a key without them would be a flag that
// nobody finds.
func TestKeysAreDescribed(t *testing.T) {
	t.Parallel()
	for _, k := range Keys() {
		if k.Help == "" || k.Placeholder == "" && !k.Switch {
			t.Errorf("key %s has no help or no placeholder: %+v", k.Name, k)
		}
	}
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bulla.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
