// Package assertion checks JOSE made by others: the assertions with which
// clients authenticate by key (private_key_jwt, RFC 7523).
//
// It promises that the key comes only from the client's registered credentials
// and the algorithm from that credential (SEC-12), that an assertion is for us
// alone (SEC-10), short-lived and named, so that its use can be remembered
// (SEC-11). It refuses everything else, keeps nothing, and its errors repeat
// nothing of the assertion. Using an id up is the store's; what a proven client
// may do is the caller's.
//
// It is go-jose's only importer.
package assertion
