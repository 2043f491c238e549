// Package oauth holds the words of the protocol: parameters, scopes, grant and
// response types, error codes, and the one Error that crosses the wire.
//
// It parses and renders; it decides nothing and knows no tenant.
package oauth
