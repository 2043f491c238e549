package seal

import "slices"

// One key, one purpose (SEC-146): every key that is derived is derived under one
// of these labels, and Derive refuses all others, so this is the whole table.
const (
	// labelMasterID names a master key without telling anything of it.
	labelMasterID = "bulla/master/id/v1"
	// labelMasterWrap is the key that wraps data keys.
	labelMasterWrap = "bulla/master/wrap/v1"
	// labelSeal is the key that seals the tenant's records.
	labelSeal = "bulla/tenant/seal/v1"
	// LabelClientSecret is the key of the hashes of client secrets (SEC-7).
	LabelClientSecret = "bulla/tenant/client-secret/v1"
	// LabelOpaqueToken is the key that seals opaque access tokens (D5).
	LabelOpaqueToken = "bulla/tenant/opaque-token/v1"
	// LabelAuthorization is the key of the hash that begins a jti (D5).
	LabelAuthorization = "bulla/tenant/authorization/v1"
	// LabelTransaction protects the login transaction of a browser.
	LabelTransaction = "bulla/tenant/transaction/v1"
	// LabelForm is the key of anti-forgery values in forms.
	LabelForm = "bulla/tenant/form/v1"
	// LabelPaging is the key of paging positions.
	LabelPaging = "bulla/tenant/paging/v1"
)

// labels is the table: every label above.
var labels = []string{
	labelMasterID, labelMasterWrap, labelSeal,
	LabelClientSecret, LabelOpaqueToken, LabelAuthorization, LabelTransaction, LabelForm, LabelPaging,
}

// derivable tells whether a caller may have a key under the label: those of the
// envelope itself never leave the package.
func derivable(label string) bool {
	return label != labelMasterID && label != labelMasterWrap && label != labelSeal && slices.Contains(labels, label)
}
