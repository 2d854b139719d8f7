package cloudtrailtest

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Region is one account and Region: its event history and how it behaves.
type Region struct {
	account, name string
	stats         counter

	mu      sync.Mutex
	enabled bool
	denied  string
	latency func() time.Duration
	quota   *limiter
	events  timeline
	added   int64 // numbers the events of Add
}

// firstAdded is the number of the first event of Add: behind every index of a
// history.
const firstAdded = 1 << 48

// Add puts events into the history, in any order, beside those of SetHistory.
// Events with a time in the future appear when it comes.
func (r *Region) Add(events ...Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]placed, len(r.events.added), len(r.events.added)+len(events))
	copy(all, r.events.added)
	for _, e := range events {
		all = append(all, placed{position{e.EventTime.UnixMilli(), firstAdded + r.added}, e})
		r.added++
	}
	slices.SortStableFunc(all, func(a, b placed) int { return a.position.compare(b.position) })
	r.events.added = all // a page in the making keeps the slice that it has
}

// SetHistory replaces the history, without touching the events of Add. Events
// with a time in the future appear when it comes: a history that reaches into
// it grows by itself. nil: none.
func (r *Region) SetHistory(h History) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events.history = h
}

// SetEnabled says whether the Region is enabled in the account. Where it isn't,
// CloudTrail answers as for a wrong key: UnrecognizedClientException, "The
// security token included in the request is invalid". The default is AWS's.
func (r *Region) SetEnabled(enabled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enabled = enabled
}

// SetLatency sets how long LookupEvents takes: asked, one at a time, for every
// request of the Region that is not throttled. The requests' times overlap.
// nil: no time.
func (r *Region) SetLatency(latency func() time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latency = latency
}

// SetQuota sets the quota of LookupEvents, and forgets what was used of it.
func (r *Region) SetQuota(q Quota) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.quota = newLimiter(q, r.account+"/"+r.name)
}

// SetDelay sets how long after its time an event is delivered: it is visible
// from EventTime plus delay on. nil: at once. The function must always answer
// the same for one event, and is called from several goroutines.
func (r *Region) SetDelay(delay func(Event) time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events.delay = delay
}

// Deny lets LookupEvents answer AccessDeniedException with that message, such
// as one that names an explicit deny in a service control policy. Empty: allow.
func (r *Region) Deny(message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.denied = message
}

// Stats returns the Region's counts, STS requests to its endpoint included.
func (r *Region) Stats() Stats { return r.stats.snapshot() }

func (r *Region) isEnabled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enabled
}

func (r *Region) deniedWith() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.denied
}

func (r *Region) nextLatency() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.latency == nil {
		return 0
	}
	return r.latency()
}

// admit reports whether the quota has room for a request at that time, and
// uses it.
func (r *Region) admit(at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.quota.admit(at)
}

func (r *Region) timeline() timeline {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events
}

// enabledByDefault reports whether AWS enables a Region in every account.
// China and GovCloud have accounts of their own, with all of theirs enabled.
func enabledByDefault(region string) bool {
	switch region {
	case "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1",
		"eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1",
		"ap-south-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3",
		"ap-southeast-1", "ap-southeast-2":
		return true
	}
	return strings.HasPrefix(region, "cn-") || strings.HasPrefix(region, "us-gov-")
}
