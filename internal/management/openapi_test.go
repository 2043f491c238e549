package management_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// The OpenAPI document is whole: version 3.1, unique operation ids, a response
// for every operation, every reference points at something, every variable of a
// path is declared.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	f := start(t)
	d, text := describe(f)
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("openapi %q", d.OpenAPI)
	}
	ids := map[string]string{}
	variable := regexp.MustCompile(`\{([a-z_]+)\}`)
	for path, methods := range d.Paths {
		for method, op := range methods {
			at := method + " " + path
			if op.ID == "" || ids[op.ID] != "" {
				t.Errorf("%s: operation id %q is missing or that of %s", at, op.ID, ids[op.ID])
			}
			ids[op.ID] = at
			ok := false
			for status := range op.Responses {
				ok = ok || strings.HasPrefix(status, "2")
			}
			if !ok || len(op.Responses) < 2 {
				t.Errorf("%s: responses %v", at, op.Responses)
			}
			declared := map[string]bool{}
			for _, p := range op.Parameters {
				if declared[p.In+p.Name] {
					t.Errorf("%s: parameter %s twice", at, p.Name)
				}
				declared[p.In+p.Name] = true
				if p.In == "path" && !p.Required {
					t.Errorf("%s: path parameter %s is optional", at, p.Name)
				}
			}
			for _, v := range variable.FindAllStringSubmatch(path, -1) {
				if !declared["path"+v[1]] {
					t.Errorf("%s: %s is not declared", at, v[1])
				}
			}
			if (op.Scopes == nil) != (op.Security != nil) {
				t.Errorf("%s: scopes %v, security %v", at, op.Scopes, op.Security)
			}
		}
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"#/components/([a-z]+)/([A-Za-z]+)"`).FindAllStringSubmatch(text, -1) {
		in := d.Components.Schemas
		if ref[1] == "responses" {
			in = d.Components.Responses
		}
		if in[ref[2]] == nil {
			t.Errorf("%s leads nowhere", ref[0])
		}
	}
	for name, raw := range d.Components.Schemas {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		if err := wellFormed(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// wellFormed looks for what JSON Schema 2020-12 does not allow.
func wellFormed(v any) error {
	s, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("a schema is %T", v)
	}
	known := map[string]bool{"type": true, "properties": true, "required": true, "additionalProperties": true, "items": true, "enum": true, "pattern": true,
		"format": true, "minLength": true, "maxLength": true, "minimum": true, "maximum": true, "minItems": true, "maxItems": true, "uniqueItems": true,
		"minProperties": true, "maxProperties": true, "description": true, "default": true, "anyOf": true, "$ref": true}
	for k := range s {
		if !known[k] {
			return fmt.Errorf("unknown keyword %s", k)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		if err := wellFormed(p); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	required, _ := s["required"].([]any)
	for _, name := range required {
		if properties[name.(string)] == nil {
			return fmt.Errorf("required %s is not a property", name)
		}
	}
	for _, k := range []string{"items", "additionalProperties"} {
		if inner, ok := s[k].(map[string]any); ok {
			if err := wellFormed(inner); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
		}
	}
	return nil
}
