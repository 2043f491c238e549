// Package audit says what happened, for the operator: the event codes, the queue
// of events that change nothing, and the cleaning of what events may hold.
//
// It promises that an event never blocks a request, that what is lost is
// counted, and that the values of an event are short and printable (SEC-231).
// It refuses to carry a token, code, secret or password: members so named are
// redacted, whatever they hold (SEC-230). It writes nothing itself: the store
// puts events into the commit that did what they tell (D13).
package audit
