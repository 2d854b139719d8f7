package cloudtrailtest

import (
	"encoding/hex"
	"math"
	"slices"
	"sort"
	"time"
)

// History is an event history of any size. Index 0 is the newest event and
// times never increase with the index. Its methods must always answer the same
// for one index, and are called from several goroutines.
type History interface {
	Len() int
	Time(i int) time.Time
	Event(i int) Event
}

// DefaultEventSize is how many bytes of CloudTrailEvent generated events have,
// about: what is usual at AWS.
const DefaultEventSize = 2500

// Uniform returns a history of n events spread evenly over [from, to], with
// some randomness, at whole seconds. Events are made when they are asked for
// and are functions of seed and index; event i has the id EventID(seed, i).
// [WithEventSize] makes them smaller.
func Uniform(seed uint64, n int, from, to time.Time) History {
	return Bursts(seed, n, nil, 0, 0, from, to)
}

// Bursts is like Uniform, but a share of the events, between 0 and 1, falls
// into bursts that begin at these instants and last for length, which counts
// in whole seconds, at least one.
func Bursts(seed uint64, n int, at []time.Time, length time.Duration, share float64, from, to time.Time) History {
	// Whole seconds, [lo, hi).
	lo, hi := ceilSecond(from), to.Unix()+1
	if hi <= lo {
		hi = lo + 1
	}
	seconds := max(1, int64(math.Ceil(length.Seconds())))
	edges := []int64{lo, hi}
	type burst struct{ lo, hi int64 }
	var bursts []burst
	for _, t := range at {
		b := burst{max(lo, t.Unix()), min(hi, t.Unix()+seconds)}
		if b.lo < b.hi {
			bursts = append(bursts, b)
			edges = append(edges, b.lo, b.hi)
		}
	}
	share = min(max(share, 0), 1)
	if len(bursts) == 0 {
		share = 0
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)

	g := generated{seed: seed, n: n, size: DefaultEventSize}
	sum := 0.0
	for k := len(edges) - 1; k > 0; k-- {
		s := segment{lo: edges[k-1], hi: edges[k], before: sum}
		density := (1 - share) / float64(hi-lo)
		for _, b := range bursts {
			if b.lo <= s.lo && s.hi <= b.hi {
				density += share / float64(len(bursts)) / float64(b.hi-b.lo)
			}
		}
		s.events = density * float64(s.hi-s.lo) * float64(n)
		sum += s.events
		if s.events > 0 {
			g.segments = append(g.segments, s)
		}
	}
	return g
}

// WithEventSize returns a generated history with about that many bytes of
// CloudTrailEvent in each event; 0 leaves the field out. Other histories are
// returned as they are.
func WithEventSize(h History, bytes int) History {
	if g, ok := h.(generated); ok {
		g.size = bytes
		return g
	}
	return h
}

// EventID returns the id of an event of Uniform or Bursts.
func EventID(seed uint64, i int) string {
	return string(appendUUID(nil, seed, i))
}

// generated is a history that is computed. Its density of events is constant
// within each segment.
type generated struct {
	seed     uint64
	n        int
	size     int
	segments []segment // newest first
}

// segment is a stretch of seconds, [lo, hi), that holds this many events, and
// this many are newer. Neither is a whole number.
type segment struct {
	lo, hi         int64
	before, events float64
}

func (g generated) Len() int { return g.n }

// Time puts event i at a random place in the i-th of n stretches that hold one
// event each.
func (g generated) Time(i int) time.Time {
	x := float64(i) + float64(mix(g.seed, uint64(i), 0)>>11)/(1<<53)
	k := sort.Search(len(g.segments), func(k int) bool { return g.segments[k].before > x }) - 1
	s := g.segments[max(k, 0)]
	back := int64((x - s.before) / s.events * float64(s.hi-s.lo))
	return time.Unix(max(s.lo, s.hi-1-back), 0).UTC()
}

func ceilSecond(t time.Time) int64 {
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	return s
}

// mix hashes its arguments: splitmix64 over them.
func mix(seed, i, salt uint64) uint64 {
	z := seed*0x9e3779b97f4a7c15 + i*0xd1342543de82ef95 + salt*0xa24baed4963ee407 + 0x2545f4914f6cdd1d
	for range 2 {
		z += 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
	}
	return z
}

// appendUUID appends a random-looking UUID.
func appendUUID(b []byte, seed uint64, i int) []byte {
	var u [16]byte
	high, low := mix(seed, uint64(i), 1), mix(seed, uint64(i), 2)
	for k := range 8 {
		u[k], u[8+k] = byte(high>>(8*k)), byte(low>>(8*k))
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	b = append(hex.AppendEncode(b, u[:4]), '-')
	b = append(hex.AppendEncode(b, u[4:6]), '-')
	b = append(hex.AppendEncode(b, u[6:8]), '-')
	b = append(hex.AppendEncode(b, u[8:10]), '-')
	return hex.AppendEncode(b, u[10:])
}
