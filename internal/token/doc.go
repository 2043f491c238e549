// Package token makes Bulla's tokens and tells its own from all others: signed
// and opaque access tokens, ID tokens, refresh-token values, the ring of signing
// keys behind them, and the hashes under which values are kept.
//
// It promises that a token is made with the right key or not at all (SEC-148),
// that what it reads has one spelling, and that the kinds cannot be taken for
// one another (SEC-80). It keeps parsed keys under the tenant's configuration
// version, so none is used after it was revoked (D6). It refuses tokens without
// an end (SEC-85), and it never stores, logs or prints a value or a key. Whether
// a token may be had, and whether a genuine one still counts, is decided
// elsewhere: it knows neither store nor policy.
package token
