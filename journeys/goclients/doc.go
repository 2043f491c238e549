// Package goclients holds no code, only tests: unmodified official Go clients against a
// bulla that the tests start, over HTTPS with its own certificate authority.
package goclients
