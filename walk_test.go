package cloudtrail

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// epoch is where the pure tests put their histories.
var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

func event(id string, t time.Time) CloudResource { return CloudResource{EventID: id, EventTime: t} }

// service answers as LookupEvents does: newest first, inclusive bounds, a
// NextToken that names the position of the next page.
type service struct {
	events []CloudResource // newest first
	size   int
}

func (s service) page(w *walk) ([]CloudResource, string) {
	var in []CloudResource
	for _, e := range s.events {
		if !e.EventTime.Before(w.from) && !e.EventTime.After(w.to) {
			in = append(in, e)
		}
	}
	first := 0
	fmt.Sscan(w.nextToken, &first)
	last, next := min(first+s.size, len(in)), ""
	if last < len(in) {
		next = fmt.Sprint(last)
	}
	return slices.Clone(in[first:last]), next
}

// randomHistory has bursts of many events in one instant, gaps and times with
// milliseconds.
func randomHistory(rng *rand.Rand, n int, seconds float64) []CloudResource {
	events := make([]CloudResource, 0, n)
	for len(events) < n {
		t := at(float64(rng.IntN(int(seconds))))
		if rng.IntN(3) == 0 {
			t = t.Add(time.Duration(rng.IntN(1000)) * time.Millisecond)
		}
		burst := 1
		if rng.IntN(8) == 0 {
			burst = 1 + rng.IntN(n/2)
		}
		for range min(burst, n-len(events)) {
			events = append(events, event(fmt.Sprintf("id-%d", len(events)), t))
		}
	}
	slices.SortStableFunc(events, func(a, b CloudResource) int { return b.EventTime.Compare(a.EventTime) })
	return events
}

// Whatever is split, replayed, repeated or answered by an empty page, and
// wherever the handler is when everything stops: the walks deliver every event
// once, and what was not stored lies in the windows that remain.
func TestWalksDeliverEverythingOnce(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		seconds := float64(10 + rng.IntN(2000))
		srv := service{randomHistory(rng, 1+rng.IntN(400), seconds), 5 + rng.IntN(46)}
		whole := window{at(0), at(seconds + 1)}
		walks := []*walk{newWalk(whole, false, false)}
		stored := map[string]int{}
		for steps := 0; len(walks) > 0; steps++ {
			require.Less(t, steps, 100_000, "seed %d does not end", seed)
			i := rng.IntN(len(walks))
			w := walks[i]
			switch rng.IntN(30) {
			case 0: // the NextToken went stale
				if w.nextToken != "" {
					w.replay()
				}
				continue
			case 1: // an empty page that carries a NextToken
				if w.nextToken != "" {
					w.take(nil, w.nextToken, true)
				}
				continue
			case 2:
				if mid, ok := w.splitAt(0, rng.IntN(3)); ok && len(walks) < 8 {
					walks = append(walks, w.split(mid))
				}
				continue
			}
			page, next := srv.page(w)
			if len(page) > 0 && rng.IntN(6) == 0 { // an event again
				page = append(page, page[rng.IntN(len(page))])
			}
			if last := slices.Sorted(maps.Keys(w.lastPage)); len(last) > 0 && rng.IntN(6) == 0 { // of the page before
				for _, e := range srv.events {
					if e.EventID == last[0] && e.EventTime.Add(1).Equal(w.frontier) {
						page = append([]CloudResource{e}, page...)
					}
				}
			}
			for _, r := range w.take(page, next, true) {
				stored[r.EventID]++
			}
			w.delivered = w.frontier
			if w.fetched {
				walks = slices.Delete(walks, i, i+1)
			}
			for _, e := range srv.events {
				if stored[e.EventID] == 0 && !slices.ContainsFunc(walks, func(w *walk) bool {
					return !e.EventTime.Before(w.start) && e.EventTime.Before(w.delivered)
				}) {
					t.Fatalf("seed %d: %s at %s is neither stored nor owed", seed, e.EventID, e.EventTime)
				}
			}
		}
		for _, e := range srv.events {
			require.Equal(t, 1, stored[e.EventID], "seed %d: %s", seed, e.EventID)
		}
	}
}

func TestWalkReplaysWhenTheTokenTurnsInCircles(t *testing.T) {
	w := newWalk(window{at(0), at(100)}, false, false)
	w.take([]CloudResource{event("a", at(50))}, "A", true)
	w.take(nil, "B", true)
	w.take(nil, "A", true) // was handed out already, and no event since
	require.Equal(t, "A", w.nextToken, "asked once more")
	w.take(nil, "B", true)
	require.Empty(t, w.nextToken, "a replay begins without a token")
	require.Equal(t, 1, w.replays)
	require.Equal(t, at(0), w.from)
	require.Equal(t, at(50), w.to, "the frontier's instant is read again")
	require.Len(t, w.take([]CloudResource{event("a", at(50)), event("b", at(50))}, "", true), 1)
	require.True(t, w.fetched)
}

func TestWalkKeepsEventsThatCannotBeRecognised(t *testing.T) {
	w := newWalk(window{at(0), at(100)}, false, false)
	kept := w.take([]CloudResource{{EventTime: at(9)}, {EventTime: at(9)}, {}}, "", true)
	require.Len(t, kept, 3, "without an id, even without a time")
}

// The outermost bounds are the service's: a stub may return any time.
func TestWalkLeavesTheOuterBoundsToTheService(t *testing.T) {
	w := newWalk(window{at(0), at(100)}, false, false)
	kept := w.take([]CloudResource{event("after", at(200)), event("in", at(50)), event("before", at(-50))}, "more", true)
	require.Len(t, kept, 3)
	require.False(t, w.fetched)
	w.replay()
	require.False(t, w.to.Before(w.from))
}
