package cloudtrailtest

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// Quota is how many LookupEvents requests an account may make in a Region.
// Throttled requests don't count. The zero value is AWS's: 2 a second, in a
// burst of 2.
type Quota struct {
	Rate   float64       // requests a second; 0: 2; +Inf: no limit
	Burst  int           // size of the token bucket; 0: Rate, rounded up
	Window bool          // no bucket: never more than Rate (rounded down, at least 1) within any second
	Jitter time.Duration // each request arrives later by a random part of this, as the quota sees it
	Others float64       // requests a second of it that somebody else uses, evenly and always first
}

// limiter applies a Quota to times of arrival, which must be asked in order.
type limiter struct {
	Quota
	rng    *rand.Rand
	tokens float64
	last   time.Time   // when tokens was counted
	recent []time.Time // Window: what was admitted in the last second
	other  time.Time   // when somebody else asks next
}

func newLimiter(q Quota, seed string) *limiter {
	if q.Rate == 0 {
		q.Rate = 2
	}
	if q.Burst == 0 {
		q.Burst = max(1, int(math.Ceil(min(q.Rate, 1e6))))
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed))
	return &limiter{Quota: q, rng: rand.New(rand.NewPCG(h.Sum64(), 0)), tokens: float64(q.Burst)}
}

// admit reports whether there is room for a request, and uses it.
func (l *limiter) admit(at time.Time) bool {
	if math.IsInf(l.Rate, 1) {
		return true
	}
	if l.Others > 0 {
		l.admitOthers(at)
	}
	if l.Jitter > 0 {
		at = at.Add(time.Duration(l.rng.Int64N(int64(l.Jitter))))
	}
	return l.take(at)
}

// admitOthers takes what somebody else uses. It always gets through, as whoever
// asks often enough does: requests that come evenly would lose against ours as
// soon as there is less than one token between two of them. Of a long time only
// the end matters.
func (l *limiter) admitOthers(at time.Time) {
	gap := time.Duration(float64(time.Second) / l.Others)
	if l.other.IsZero() || at.Sub(l.other) > time.Hour {
		l.other = at.Add(-time.Minute).Add(time.Duration(l.rng.Int64N(int64(gap) + 1)))
	}
	for ; !l.other.After(at); l.other = l.other.Add(gap) {
		l.refill(l.other)
		l.tokens = max(l.tokens-1, -1)
		if l.Window {
			l.recent = append(l.recent, l.other)
		}
	}
}

func (l *limiter) take(at time.Time) bool {
	if l.Window {
		return l.takeWindow(at)
	}
	l.refill(at)
	const rounding = 1e-9
	if l.tokens < 1-rounding {
		return false
	}
	l.tokens--
	return true
}

// refill adds the tokens of the time that passed.
func (l *limiter) refill(at time.Time) {
	if l.last.IsZero() {
		l.last = at
	}
	if passed := at.Sub(l.last); passed > 0 { // jitter may put arrivals out of order
		l.tokens = min(float64(l.Burst), l.tokens+passed.Seconds()*l.Rate)
		l.last = at
	}
}

func (l *limiter) takeWindow(at time.Time) bool {
	since := at.Add(-time.Second)
	kept := l.recent[:0]
	n := 0
	for _, t := range l.recent {
		if t.After(since) {
			n++
		}
		if t.After(since.Add(-l.Jitter)) { // a later request may arrive earlier
			kept = append(kept, t)
		}
	}
	l.recent = kept
	if n >= max(1, int(l.Rate)) {
		return false
	}
	l.recent = append(l.recent, at)
	return true
}
