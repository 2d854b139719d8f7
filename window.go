package cloudtrail

import (
	"slices"
	"time"
)

const (
	// history is how long CloudTrail keeps events, less a margin for the time
	// that a request takes to arrive.
	history = 90*24*time.Hour - time.Minute
	// settling is how late an event may be delivered: the last part of what a
	// sync read is read again by the next one.
	settling = 15 * time.Minute
)

// window is a half-open range of event time [start, end).
type window struct{ start, end time.Time }

func (w window) empty() bool { return !w.start.Before(w.end) }

func (w window) length() time.Duration { return max(0, w.end.Sub(w.start)) }

func (w window) intersect(v window) window {
	return window{later(w.start, v.start), earlier(w.end, v.end)}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// union sorts windows and joins those that overlap or touch; empty ones go. It
// reuses ws.
func union(ws []window) []window {
	ws = slices.DeleteFunc(ws, window.empty)
	slices.SortFunc(ws, func(a, b window) int { return a.start.Compare(b.start) })
	joined := ws[:0]
	for _, w := range ws {
		if n := len(joined); n > 0 && !w.start.After(joined[n-1].end) {
			joined[n-1].end = later(joined[n-1].end, w.end)
			continue
		}
		joined = append(joined, w)
	}
	return joined
}

// owed is what is still to be read of a partition: the open windows, sorted and
// disjoint, all before through, and everything from through on. Open windows
// have been in the scope of a sync already; the time from through on is limited
// by the lookback of the next one.
type owed struct {
	open    []window
	through time.Time
}

// endless stands for the end of time in the window that begins at through.
var endless = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

func (o owed) windows() []window {
	return append(slices.Clone(o.open), window{o.through, endless})
}

// either is what a or b owes; both what a and b owe.
func either(a, b owed) owed {
	return newOwed(append(slices.Clone(a.open), b.open...), earlier(a.through, b.through))
}

func both(a, b owed) owed {
	var common []window
	for _, v := range a.windows() {
		for _, w := range b.windows() {
			common = append(common, v.intersect(w))
		}
	}
	return newOwed(common, later(a.through, b.through))
}

// newOwed normalises windows to what of them lies before through. It reuses ws.
func newOwed(ws []window, through time.Time) owed {
	for i := range ws {
		ws[i].end = earlier(ws[i].end, through)
	}
	return owed{union(ws), through}
}

// plan is what one sync does about what a partition owes.
type plan struct {
	todo    []window // to be read now: sorted, disjoint
	keep    []window // owed, but after the end of this sync
	through time.Time
	outside window // out of scope by definition: between the old token and the lookback
	lost    bool   // an open window is older than CloudTrail's history
}

// plan splits what o owes at the sync's end, inclusive. Open windows are owed
// until they are read or too old; only the rest is limited to the lookback.
func (o owed) plan(now, end time.Time, lookback time.Duration) plan {
	oldest := now.Add(-history)
	scope := later(o.through, later(now.Add(-lookback), oldest))
	stop := end.Add(1) // half-open
	p := plan{through: o.through}
	if scope.Before(stop) {
		p.todo = append(p.todo, window{scope, stop})
		p.through = later(scope, end.Add(-settling))
		if !o.through.IsZero() {
			p.outside = window{o.through, scope}
		}
	}
	for _, w := range o.open {
		p.lost = p.lost || w.start.Before(oldest)
		p.todo = append(p.todo, w.intersect(window{oldest, stop}))
		p.keep = append(p.keep, w.intersect(window{stop, endless}))
	}
	p.todo, p.keep = union(p.todo), union(p.keep)
	return p
}

// after is what the partition owes when of todo these windows are left.
func (p plan) after(left []window) owed {
	return newOwed(append(slices.Clone(p.keep), left...), p.through)
}
