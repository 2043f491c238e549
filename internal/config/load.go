package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Sources is where settings come from, lowest precedence first.
type Sources struct {
	// File is the path of a JSON object with keys of Config; empty means none.
	File string
	// Environ is the environment, NAME=value each; names that do not begin with
	// BULLA_ are not looked at.
	Environ []string
	// Flags are the flags that were given, under the key's name.
	Flags map[string]string
}

const envPrefix = "BULLA_"

// EnvName is the environment variable of a key.
func EnvName(key string) string { return envPrefix + strings.ToUpper(key) }

// FlagName is the flag of a key, without the dashes.
func FlagName(key string) string { return strings.ReplaceAll(key, "_", "-") }

// Load reads the sources, fills in the defaults and validates. Every error names
// the key, says where it was set and what to do.
func Load(s Sources) (Config, error) {
	c := Config{source: map[string]string{}}
	for _, k := range Keys() {
		if err := c.set(k.Name, k.Default, "default"); err != nil {
			return Config{}, err
		}
	}
	if s.File != "" {
		if err := c.readFile(s.File); err != nil {
			return Config{}, err
		}
	}
	if err := c.readEnviron(s.Environ); err != nil {
		return Config{}, err
	}
	for _, k := range Keys() { // in the order of Keys, so that the first error is always the same
		if v, ok := s.Flags[k.Name]; ok {
			if err := c.set(k.Name, v, "--"+FlagName(k.Name)); err != nil {
				return Config{}, err
			}
		}
	}
	c.derive()
	return c, c.Validate()
}

// readFile takes the values of a JSON object.
func (c *Config) readFile(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fmt.Errorf("--config %s: %w; name a file that can be read", path, err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("--config %s: not a JSON object; write {\"listen\": \"localhost:8443\", …}", path)
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return fmt.Errorf("--config %s: not a JSON object: %w", path, err)
		}
		name, _ := t.(string) // the decoder lets nothing else stand before a colon
		if err := c.takeMember(name, dec, path, seen); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("--config %s: not a JSON object: the closing brace is missing", path)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("--config %s: something follows the JSON object; remove it", path)
	}
	return nil
}

func (c *Config) takeMember(name string, dec *json.Decoder, path string, seen map[string]bool) error {
	at := name + " in " + path
	switch {
	case !known(name):
		return fmt.Errorf("%s: no such setting%s", at, suggest(name, func(k string) string { return k }))
	case seen[name]:
		return fmt.Errorf("%s: set twice; remove one", at)
	}
	seen[name] = true
	var v any
	if err := dec.Decode(&v); err != nil {
		return fmt.Errorf("%s: not JSON: %w", at, err)
	}
	text, err := asText(v)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return c.set(name, text, at)
}

// readEnviron takes the BULLA_… variables.
func (c *Config) readEnviron(environ []string) error {
	environ = slices.Clone(environ)
	slices.Sort(environ)
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		i := slices.IndexFunc(Keys(), func(k Key) bool { return EnvName(k.Name) == name })
		if i < 0 {
			return fmt.Errorf("%s in the environment: no such setting%s", name, suggest(name, EnvName))
		}
		if err := c.set(Keys()[i].Name, value, name); err != nil {
			return err
		}
	}
	return nil
}

// asText is a JSON value in the spelling of the environment.
func asText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return fmt.Sprint(v), nil
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return "", errors.New("write a list of strings")
			}
			parts[i] = s
		}
		return strings.Join(parts, ","), nil
	}
	return "", errors.New("write a string, true, false or a list of strings")
}

// set parses value into the field of the key.
func (c *Config) set(name, value, source string) error {
	f := fieldOf(c, name)
	switch f.Interface().(type) {
	case string:
		f.SetString(value)
	case bool:
		switch value {
		case "true", "on", "1":
			f.SetBool(true)
		case "false", "off", "0", "":
			f.SetBool(false)
		default:
			return fmt.Errorf("%s: %q is neither true nor false", source, value)
		}
	case time.Duration:
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return fmt.Errorf("%s: %q is no duration; write it like 500ms or 5s", source, value)
		}
		f.SetInt(int64(d))
	case []string:
		list := []string{}
		for _, part := range strings.Split(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		f.Set(reflect.ValueOf(list))
	}
	c.source[name] = source
	return nil
}

// derive fills in the defaults that follow from other settings.
func (c *Config) derive() {
	if c.Domain == "" {
		c.Domain = "localhost" + portSuffix(c.Listen)
	}
	c.Domain = strings.ToLower(c.Domain)
	if c.MasterKeyFile == "" && c.Data != "" {
		c.MasterKeyFile = filepath.Join(c.Data, "master.key")
	}
}

func portSuffix(listen string) string {
	i := strings.LastIndexByte(listen, ':')
	if i < 0 || listen[i:] == ":443" {
		return ""
	}
	return listen[i:]
}

// suggest names the key that was probably meant, or all of them.
func suggest(name string, spell func(string) string) string {
	best, distance := "", 4
	all := make([]string, 0, len(Keys()))
	for _, k := range Keys() {
		s := spell(k.Name)
		all = append(all, s)
		if d := editDistance(name, s); d < distance {
			best, distance = s, d
		}
	}
	if best != "" {
		return "; is it " + best + "?"
	}
	return "; there are " + strings.Join(all, ", ")
}

// editDistance is the number of characters to insert, delete or replace.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
