package cloudtrailtest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"sort"
	"time"
)

// position is where in a timeline an event stands: newest first, and within
// one millisecond by number. As the place where a page goes on it means behind
// that event, and so stays what it is when other events arrive.
type position struct {
	ms  int64
	seq int64
}

// newest is before every event.
var newest = position{ms: math.MaxInt64, seq: -1}

// compare orders positions as pages show them.
func (p position) compare(q position) int {
	if c := cmp.Compare(q.ms, p.ms); c != 0 {
		return c
	}
	return cmp.Compare(p.seq, q.seq)
}

// placed is an event at its place.
type placed struct {
	position
	event Event
}

// timeline is what a Region's events are at one moment: a history, whose
// indices are its numbers, and the events that were added, sorted.
type timeline struct {
	history History
	added   []placed
	delay   func(Event) time.Duration
}

// query is what a page is to hold. Its bounds are inclusive, in milliseconds.
type query struct {
	from, to int64
	now      time.Time
	after    position
	limit    int
	filter   func(Event) bool // nil: all
}

// page returns the events of a page, the position of the last of them, and
// whether more follow. It takes O(log n) to find the place and then as long as
// it takes to find the events.
func (t timeline) page(ctx context.Context, q query) (events []Event, last position, more bool, err error) {
	if q.to < q.after.ms {
		q.after = position{ms: q.to, seq: -1}
	}
	cursor := t.cursor(q.after)
	for scanned := 0; ; scanned++ {
		if scanned%1024 == 0 && ctx.Err() != nil {
			return nil, last, false, ctx.Err()
		}
		at, event, ok := cursor.next()
		if !ok || at.ms < q.from {
			return events, last, false, nil
		}
		if len(events) == q.limit && t.delay == nil && q.filter == nil {
			return events, last, q.limit > 0, nil
		}
		e := event()
		if t.delay != nil && e.EventTime.Add(t.delay(e)).After(q.now) {
			continue
		}
		if q.filter != nil && !q.filter(e) {
			continue
		}
		if len(events) == q.limit {
			return events, last, q.limit > 0, nil
		}
		events, last = append(events, e), at
	}
}

// cursor walks both parts of a timeline in the order of their positions.
type cursor struct {
	timeline
	i, j, n int
}

func (t timeline) cursor(after position) *cursor {
	c := &cursor{timeline: t}
	if t.history != nil {
		c.n = t.history.Len()
	}
	c.i = sort.Search(c.n, func(i int) bool { return c.place(i).compare(after) > 0 })
	c.j = sort.Search(len(t.added), func(j int) bool { return t.added[j].compare(after) > 0 })
	return c
}

func (c *cursor) place(i int) position {
	return position{ms: c.history.Time(i).UnixMilli(), seq: int64(i)}
}

// next returns where the next event stands and a function that makes it.
func (c *cursor) next() (position, func() Event, bool) {
	if c.j < len(c.added) && (c.i >= c.n || c.added[c.j].compare(c.place(c.i)) < 0) {
		p := c.added[c.j]
		c.j++
		return p.position, func() Event { return p.event }, true
	}
	if c.i >= c.n {
		return position{}, nil, false
	}
	i := c.i
	c.i++
	return c.place(i), func() Event { return c.history.Event(i) }, true
}

var invalidNextToken = apiError{http.StatusBadRequest, "InvalidNextTokenException", "Invalid token or a token that was previously used in a call with different parameters."}

// binding identifies the parameters of a request that its NextToken is for.
func (in LookupInput) binding(account, region string) []byte {
	b, err := json.Marshal([]any{account, region, in.StartTime.UnixMilli(), in.EndTime.UnixMilli(), in.MaxResults, in.EventCategory, in.Attributes})
	if err != nil {
		panic(err) // strings and integers
	}
	return b
}

// nextToken returns the opaque text for a position: a check sum over it and
// what it is bound to, then the position.
func nextToken(p position, binding []byte) string {
	place := binary.BigEndian.AppendUint64(nil, uint64(p.ms))
	place = binary.BigEndian.AppendUint64(place, uint64(p.seq))
	sum := sha256.Sum256(append(place, binding...))
	return base64.URLEncoding.EncodeToString(append(sum[:16:16], place...))
}

// parseNextToken returns a token's position, if it is bound to these
// parameters.
func parseNextToken(token string, binding []byte) (position, bool) {
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(b) != 32 {
		return position{}, false
	}
	p := position{
		ms:  int64(binary.BigEndian.Uint64(b[16:24])),
		seq: int64(binary.BigEndian.Uint64(b[24:32])),
	}
	return p, subtle.ConstantTimeCompare([]byte(token), []byte(nextToken(p, binding))) == 1
}
