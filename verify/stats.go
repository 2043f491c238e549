package verify

import "time"

// Stats is what a Verifier has done and how old its knowledge is, for a program
// to publish. Counters grow; nothing in it names a token or a user.
type Stats struct {
	Keys          int           // keys in the set
	KeySetAge     time.Duration // since the last fetch that succeeded; 0 before it, and for fixed keys
	KeyFetches    uint64        // of the key set, failed ones too
	KeyFailures   uint64        // fetches that failed
	KeyRefetches  uint64        // fetches that a token caused: unknown kid, or bad signature
	UnknownKids   uint64        // tokens refused with ErrUnknownKey
	CacheSize     int           // verified tokens remembered
	CacheHits     uint64        // signature checks saved
	CacheMisses   uint64        // with a TokenCache
	Revoked       uint64        // tokens that the feed refused
	FeedOld       uint64        // tokens judged while the feed was out of date
	Introspected  uint64        // requests made
	IntroFailures uint64        // of them failed
	IntroHits     uint64        // answers remembered
	Feed          FeedStats     // zero without a feed
}

// FeedStats is the state of a Feed.
type FeedStats struct {
	Live     bool          // connected and up to date
	Age      time.Duration // Feed.Age: how far we may lag behind
	Entries  int           // authorizations and marks in force
	Events   uint64        // received
	Connects uint64        // connections tried
}

// Stats returns the state of the verifier at this moment.
func (v *Verifier) Stats() Stats {
	k := v.keys
	s := Stats{
		KeyFetches: k.fetches.Load(), KeyFailures: k.failed.Load(), KeyRefetches: k.refetches.Load(), UnknownKids: k.unknownKids.Load(),
		CacheHits: v.cacheHits.Load(), CacheMisses: v.cacheMisses.Load(), Revoked: v.revoked.Load(), FeedOld: v.feedOld.Load(),
	}
	if set := k.current.Load(); set != nil {
		s.Keys = len(set.all)
		if !set.fetchedAt.IsZero() {
			s.KeySetAge = max(v.now().Sub(set.fetchedAt), 0)
		}
	}
	if v.cache != nil {
		s.CacheSize = v.cache.len()
	}
	if in := v.introspection; in != nil {
		s.Introspected, s.IntroFailures, s.IntroHits = in.requests.Load(), in.failed.Load(), in.hits.Load()
	}
	if v.feed != nil {
		s.Feed = v.feed.Stats()
	}
	return s
}

// Stats returns the state of the feed at this moment.
func (f *Feed) Stats() FeedStats {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return FeedStats{
		Live: f.live.Load(), Age: f.Age(), Entries: f.current.len(), Events: f.events.Load(), Connects: f.connects.Load(),
	}
}

// retryIn is when to ask us again after ErrUnavailable.
func (v *Verifier) retryIn() time.Duration {
	wait := v.keys.retryIn()
	if v.introspection != nil {
		wait = max(wait, v.introspection.retryIn())
	}
	return wait
}
