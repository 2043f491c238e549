package management

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// formats are the named string formats of the description.
var formats = map[string]func(string) bool{
	"email":                       isEmail,
	"email-or-empty":              orEmpty(isEmail),
	"date-time":                   isDateTime,
	"url":                         isURL,
	"strict-uri":                  isURL,
	"absolute-uri-or-empty":       orEmpty(isURL),
	"absolute-https-uri-or-empty": orEmpty(isHTTPS),
	"absolute-https-uri-with-placeholders-or-empty": orEmpty(isHTTPS),
	"callback-url":          isRedirect,
	"url-with-placeholders": isOrigin,
	"client-id":             regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString,
	"user-id":               isUserID,
	"connection-realm":      regexp.MustCompile(`^[a-zA-Z0-9](-[a-zA-Z0-9]|[a-zA-Z0-9])*$`).MatchString,
	"organization-id":       regexp.MustCompile(`^org_[A-Za-z0-9]{16}$`).MatchString,
	"ip-or-cidr":            isIPOrCIDR,
	"acr":                   regexp.MustCompile(`^[\x21-\x7e]+$`).MatchString,
	"scope":                 regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]+$`).MatchString, // RFC 6749 §3.3
	"log-id":                regexp.MustCompile(`^[0-9A-Za-z]{1,64}$`).MatchString,
	"audience":              regexp.MustCompile(`^[\x21-\x7e]+$`).MatchString,
	"printable":             regexp.MustCompile(`^[^\x00-\x1f\x7f]*$`).MatchString,
}

func orEmpty(valid func(string) bool) func(string) bool {
	return func(s string) bool { return s == "" || valid(s) }
}

var emailPattern = regexp.MustCompile(`^[^\s@<>"(),:;\\\x00-\x1f\x7f]+@[^\s@.<>"(),:;\\\x00-\x1f\x7f]+(\.[^\s@.<>"(),:;\\\x00-\x1f\x7f]+)+$`)

func isEmail(s string) bool { return len(s) <= 320 && emailPattern.MatchString(s) }

func isDateTime(s string) bool {
	_, err := time.Parse(time.RFC3339, s)
	return err == nil
}

// isURL is an absolute http or https URL without user information.
func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil && clean(s)
}

func isHTTPS(s string) bool { return isURL(s) && strings.HasPrefix(strings.ToLower(s), "https:") }

// isOrigin is a URL of which only the origin counts; one wildcard label is
// allowed at the left (management-api.md §12).
func isOrigin(s string) bool {
	if scheme, rest, ok := strings.Cut(s, "://"); ok && (scheme == "http" || scheme == "https") {
		s = scheme + "://" + strings.TrimPrefix(rest, "*.")
	}
	if strings.Contains(s, "*") {
		return false
	}
	if isURL(s) {
		return true
	}
	// Native web views have origins of their own schemes (capacitor://localhost).
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && u.User == nil && isRedirect(s)
}

// isRedirect is SEC-23; a query may name the organization by a placeholder.
func isRedirect(s string) bool {
	return tenant.CheckRedirectURI(strings.ReplaceAll(s, "{organization_name}", "organization")) == nil
}

func clean(s string) bool {
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] >= 0x7f || s[i] == '\\' {
			return false
		}
	}
	return true
}

func isUserID(s string) bool {
	provider, id, ok := strings.Cut(s, "|")
	return ok && provider != "" && id != "" && len(s) <= 300 && !strings.ContainsAny(s, " \t\r\n\x00")
}

func isIPOrCIDR(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParsePrefix(s)
	return err == nil
}
