package cloudtrail

import (
	"math"
	"sync"
	"time"
)

// pacer keeps one partition at its quota: no burst, every attempt a gap after
// the one before, whoever makes it. The AWS quota is a token bucket to most
// observers, but a strict sliding second to some; so it begins at the full rate
// and yields to throttling in two steps.
//
//   - A throttle near the full rate says that this server is strict: a little
//     slower from then on, until nobody has asked for a while.
//   - More throttles say that somebody else uses the quota too: a fifth slower
//     each, and back up slowly. Halving, or a fast way back, wastes more.
//
// Safe for concurrent use: all Syncs of a Connector share it.
type pacer struct {
	mu     sync.Mutex
	quota  float64   // requests per second
	limit  float64   // what rate recovers to
	rate   float64   // now
	next   time.Time // when the next attempt may start
	slowed time.Time // attempts begun before this say nothing about the rate now
}

const (
	strictShare   = 0.975 // of the quota, against a strict server
	slowdown      = 0.8
	recoveryShare = 1.0 / 128 // of the quota, for each success
	leastShare    = 1.0 / 32  // of the quota: never slower
	forgetAfter   = 2 * requestTimeout
)

func newPacer(quota float64) *pacer {
	return &pacer{quota: quota, limit: quota, rate: quota}
}

// take returns how long to wait before an attempt may start. Zero means that it
// starts now.
func (p *pacer) take(now time.Time) time.Duration {
	if math.IsInf(p.quota, 1) {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if wait := p.next.Sub(now); wait > 0 {
		return wait
	}
	if now.Sub(p.next) > forgetAfter { // another sync
		p.limit = p.quota
	}
	p.next = now.Add(time.Duration(min(float64(time.Second)/p.rate, math.MaxInt64/2)))
	return 0
}

// throttled slows down after an attempt that started at the given time.
func (p *pacer) throttled(started, now time.Time) {
	if math.IsInf(p.quota, 1) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if started.Before(p.slowed) {
		return
	}
	p.slowed = now
	if strict := p.quota * strictShare; p.rate > strict {
		p.rate, p.limit = strict, strict
		return
	}
	p.rate = max(p.rate*slowdown, p.quota*leastShare)
}

func (p *pacer) succeeded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = min(p.rate+p.quota*recoveryShare, p.limit)
}

// pacers holds the pacer of each partition. Safe for concurrent use.
type pacers struct {
	rate float64
	mu   sync.Mutex
	of   map[Partition]*pacer
}

func newPacers(rate float64) *pacers {
	return &pacers{rate: rate, of: map[Partition]*pacer{}}
}

func (ps *pacers) get(p Partition) *pacer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.of[p] == nil {
		ps.of[p] = newPacer(ps.rate)
	}
	return ps.of[p]
}
