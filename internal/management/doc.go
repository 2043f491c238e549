// Package management is the Management API, everything under /api/v2/.
//
// Each resource is one file that describes it once: its fields (type, bounds,
// default, who may see or write them, what they are for) and its operations
// (method, path, scopes, query, answer). Decoding, validation with the vendor's
// messages, field hiding, the audit event and the OpenAPI document are all read
// from that description by the engine:
//
//	json.go       values that keep the order of their members, and bounds on them
//	schema.go     the words a description is written in
//	validate.go   a value against a description; the vendor's messages
//	operation.go  what a route is; a route without a scope does not start (SEC-185)
//	serve.go      the way of a request: route, authenticate, authorize, decode, serve
//	answer.go     which fields the caller sees; lists and their three forms
//	event.go      the sapi event of every write, without secrets (SEC-194)
//	openapi.go    the same description for machines, at /api/v2/openapi.json
//
// It promises that unknown fields are refused and never ignored (SEC-187), that
// a foreign tenant's object looks like a missing one (SEC-186), and that a
// secret leaves only to a scope that names it (SEC-190). It holds no SQL and
// makes no token.
package management
