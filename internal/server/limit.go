package server

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// class groups endpoints that share one rate.
type class int

const (
	classPages class = iota
	classLogin
	classToken
	classUserinfo
	classMetadata
	classManagement
	classes
)

// Rate is a token bucket: Burst requests at once, PerSecond refilled.
type Rate struct {
	Burst     int
	PerSecond int
}

// Rates are per tenant (SEC-217). The defaults are far above what one server can
// answer with real work: they stop a runaway, they are no billing plan.
type Rates struct {
	Pages, Login, Token, Userinfo, Metadata, Management Rate
}

// limiter is a token bucket per tenant and class, kept as one instant each: the
// theoretical arrival time of the generic cell rate algorithm.
type limiter struct {
	rates [classes]Rate
	clock Clock

	mu   sync.Mutex
	full map[string]*[classes]time.Time
}

func newLimiter(r Rates, clock Clock) *limiter {
	l := &limiter{clock: clock, full: map[string]*[classes]time.Time{}}
	pick := func(set, otherwise Rate) Rate {
		if set.Burst > 0 && set.PerSecond > 0 {
			return set
		}
		return otherwise
	}
	l.rates[classPages] = pick(r.Pages, Rate{2000, 1000})
	l.rates[classLogin] = pick(r.Login, Rate{500, 200})
	l.rates[classToken] = pick(r.Token, Rate{20000, 10000})
	l.rates[classUserinfo] = pick(r.Userinfo, Rate{20000, 10000})
	l.rates[classMetadata] = pick(r.Metadata, Rate{20000, 10000})
	l.rates[classManagement] = pick(r.Management, Rate{2000, 1000})
	return l
}

// allow takes a token of the tenant's bucket and writes the rate headers. A
// request that is refused takes none. The map holds one entry a tenant, whose
// number the operator chooses (SEC-228).
func (l *limiter) allow(h http.Header, tenantID string, c class) bool {
	rate, now := l.rates[c], l.clock.Now()
	step := time.Second / time.Duration(rate.PerSecond)
	window := step * time.Duration(rate.Burst)

	l.mu.Lock()
	buckets := l.full[tenantID]
	if buckets == nil {
		buckets = new([classes]time.Time)
		l.full[tenantID] = buckets
	}
	at := buckets[c]
	if at.Before(now) {
		at = now
	}
	ok := at.Add(step).Sub(now) <= window
	if ok {
		at = at.Add(step)
		buckets[c] = at
	}
	l.mu.Unlock()

	remaining := int((window - at.Sub(now)) / step)
	reset := now // when a token is there: now, unless the bucket is empty
	if remaining <= 0 {
		reset = at.Add(step - window)
	}
	seconds := reset.Unix()
	if reset.Nanosecond() > 0 {
		seconds++ // never earlier than it is true (management-api.md §4)
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(rate.Burst))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(remaining, 0)))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(seconds, 10))
	if !ok {
		h.Set("Retry-After", strconv.FormatInt(max(1, int64((reset.Sub(now)+time.Second-1)/time.Second)), 10))
	}
	return ok
}
