package cloudtrail

import (
	"slices"
	"time"
)

// walk is one LookupEvents pagination, newest first, over one window. It is
// pure: a page goes in, the records that are new come out, and what the next
// request asks for has changed.
//
// CloudTrail's bounds are inclusive and its pages overlap after a replay, so a
// bound between two windows of one sync is decided here, by the events' times:
// such a bound is called inner. Only the outermost two bounds of a sync are the
// service's to apply.
type walk struct {
	window                // what this walk delivers
	innerStart, innerStop bool

	// The parameters of the pagination under way; they never change.
	from, to  time.Time // both inclusive
	nextToken string    // of the next request; "": the first one

	// frontier is the end of what remains to be fetched, delivered of what
	// remains to be stored: [start, frontier), with the instant of the oldest
	// event so far in it, since more events may share that instant.
	frontier, delivered time.Time

	atFrontier map[string]bool // ids of the events at the frontier's instant
	lastPage   map[string]bool // ids on the last page that had events
	barren     []string        // NextTokens handed out since the last new event
	asked      bool            // one of them came again; it was tried once more
	replays    int             // since the last new event

	untimed bool    // it saw an event without a time, which no split could assign
	density float64 // new events per second on the last page that was filled; 0: none seen
	fetched bool    // nothing remains to be fetched
}

func newWalk(w window, innerStart, innerStop bool) *walk {
	k := &walk{window: w, innerStart: innerStart, innerStop: innerStop, delivered: w.end}
	k.begin()
	return k
}

// begin starts a pagination over the whole window. The SDK decodes a time with
// a fraction up to a millisecond early; an inner bound that came from such a
// time asks for that much more.
func (w *walk) begin() {
	w.from, w.to = w.start, later(w.start, w.end.Add(-1))
	if w.innerStop && w.end.Nanosecond() > 1 {
		w.to = w.to.Add(time.Millisecond)
	}
	w.nextToken, w.frontier = "", w.end
	w.barren, w.asked = nil, false
}

// left is what remains to be fetched.
func (w *walk) left() window { return window{w.start, w.frontier} }

// take moves the walk on by a page and returns its new records, in records'
// memory. An event without a time stands where the one before it does. Only a
// filled page shows a density: a full one, or AWS's that is half full. One with
// fewer events and a NextToken may be a stub's, who plays a list of answers and
// would waste some on a split.
func (w *walk) take(records []CloudResource, next string, filled bool) []CloudResource {
	before, at := w.frontier, w.frontier.Add(-1)
	past, news := false, false
	page := make(map[string]bool, len(records))
	kept := records[:0]
	for _, r := range records {
		if r.EventTime.IsZero() {
			w.untimed = true
		} else {
			at = r.EventTime
		}
		if w.innerStart && at.Before(w.start) {
			past = true
			continue
		}
		if w.innerStop && !at.Before(w.end) {
			continue
		}
		if edge := at.Add(1); edge.Before(w.frontier) || w.atFrontier == nil {
			w.frontier = earlier(edge, w.frontier)
			if len(w.atFrontier) > maxPageSize || w.atFrontier == nil {
				w.atFrontier = map[string]bool{} // clearing a large one takes its size, again and again
			}
			clear(w.atFrontier)
		}
		id := r.EventID
		if id != "" {
			repeated := page[id] || w.lastPage[id] || w.atFrontier[id]
			page[id] = true
			if repeated {
				continue
			}
			if at.Add(1).Equal(w.frontier) {
				w.atFrontier[id] = true
			}
			news = true
		}
		kept = append(kept, r)
	}
	if len(records) > 0 {
		w.lastPage = page
	}
	if filled && len(kept) > 0 {
		// A page within one second says no more than its second.
		span := max(time.Second, before.Sub(w.frontier))
		w.density = float64(len(kept)) / span.Seconds()
	}
	// Events that can't be recognised are news only where they lead on.
	news = news || w.frontier.Before(before)
	if news {
		w.replays = 0
	}
	w.fetched = past || next == ""
	if !w.fetched {
		w.follow(next, news)
	}
	return kept
}

// follow goes on with the NextToken. One that comes again without a new event
// in between is tried once more; then only a replay leads out of the circle.
func (w *walk) follow(next string, news bool) {
	if news {
		w.barren, w.asked = w.barren[:0], false
	}
	if slices.Contains(w.barren, next) {
		if w.asked {
			w.replay()
			return
		}
		w.asked = true
	} else {
		w.barren = append(w.barren, next)
	}
	w.nextToken = next
}

// replay begins a new pagination over what remains; the frontier's instant is
// read again and its events are recognised.
func (w *walk) replay() {
	if w.frontier.Before(w.end) {
		w.end, w.innerStop = w.frontier, true
	}
	w.replays++
	w.begin()
}

// expected is how many events remain, by the density seen; 0 where the walk
// can't be split.
func (w *walk) expected() float64 {
	if w.untimed {
		return 0
	}
	return w.density * w.left().length().Seconds()
}

// splitAt returns where to split: in the middle, or lower down where n more
// splits are going to follow, so that all parts are equal then. It is not worth
// it for less than two pages, by the density that was seen.
func (w *walk) splitAt(pageSize, n int) (mid time.Time, ok bool) {
	left := w.left()
	mid = left.start.Add(left.length() / time.Duration(n+2)).Truncate(time.Second)
	return mid, w.expected() >= float64(2*pageSize) && mid.After(left.start) && mid.Before(left.end)
}

// split hands what is before mid to a new walk. This one goes on with its
// NextToken and ends at the first event before mid. The new walk has no density
// until its own first page, or an empty night would be bisected.
func (w *walk) split(mid time.Time) *walk {
	older := newWalk(window{w.start, mid}, w.innerStart, true)
	w.start, w.innerStart = mid, true
	return older
}
