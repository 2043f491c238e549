// Package grant is the back channel: what a client presents at the token
// endpoint, a file per grant type, and the end of it: revocation, and the check
// of our own access tokens at our own endpoints.
//
// It promises that every token leaves through one path (Exchange) that judges
// from stored state of now (SEC-1): authenticate, redeem, decide, rules, mint,
// commit; that the one write comes last and is conditional on what was judged
// (SEC-3, SEC-124); and that nothing is used up by what fails before it
// (SEC-119). It refuses to hold a transaction open while it waits, to tell apart
// what an attacker must not (SEC-14, SEC-64), and to blame a credential for a
// fault of ours (SEC-2).
package grant
