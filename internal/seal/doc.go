// Package seal keeps secrets readable only by those who hold the master key.
//
// It is the envelope of D7: a master key outside the database wraps one data key
// for each tenant, and the data key seals records with AES-256-GCM and gives
// derived keys, each for one labelled purpose. It promises that a sealed text
// opens only as the record it was made for: tenant, purpose and id are bound to
// it (SEC-137), and that nothing is ever done with another key when the right
// one is missing (SEC-148). It refuses a master key that is missing, short,
// trivial or readable by others (SEC-138).
//
// All of the cryptography is the standard library's.
package seal

import (
	"errors"
	"fmt"
)

var (
	// ErrWrongMasterKey says that the data was sealed under another master key.
	// Nothing can be read until the right one is given.
	ErrWrongMasterKey = errors.New("wrong master key: the store was made with another one; give the server that key (BULLA_MASTER_KEY_FILE) and start it again")
	// ErrDamaged says that a sealed text was cut, altered, or moved from the
	// record it belongs to (SEC-137).
	ErrDamaged = errors.New("sealed value damaged or moved")
	// ErrMasterKey says that a master key cannot be used (SEC-138).
	ErrMasterKey = errors.New("unusable master key")
	// ErrLabel says that a key was asked for under a label that is not in the
	// table of labels.go (SEC-146).
	ErrLabel = errors.New("unknown key label")
)

func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMasterKey}, args...)...)
}
