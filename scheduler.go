package cloudtrail

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"golang.org/x/sync/errgroup"
)

// scheduler is the heart of a Sync: one loop, on a goroutine of its own, that
// owns all state. It picks the next request, takes finished pages, offers them
// to the handler one at a time and moves the windows on. The goroutines it
// starts only fetch and map, so nothing here is locked.
//
// A partition's windows are read by walks. A walk has one request in flight at
// a time, because the NextToken of a page comes with the page before it; so
// with slow pages one walk leaves quota unused. Whenever something changes the
// loop makes two passes over the partitions, least recently served first:
//
//  1. an idle walk makes its next request, if the pacer lets it. Fairness needs
//     no other rule.
//  2. where all walks of a partition are in flight, and there is quota and a
//     slot to spare, the walk that is expected to have most events left is
//     split, and the new walk begins: at the middle, or lower where more splits
//     follow before a page comes back, so that all parts end together. Only on
//     a density that was seen, and for two pages at least: a blind split costs
//     a quiet Region more requests than it has pages. Where nothing is worth a
//     split, a request that is long overdue is given up and asked again.
//
// A split is exact because its bound is decided by the events' times, on our
// side; a walk is, because it remembers the ids at its frontier (see walk).
//
// Every attempt takes its turn at the pacer first, retries too. Waiting for the
// quota or for a backoff holds no slot.
type scheduler struct {
	opts     *options
	log      *slog.Logger
	parallel int // requests in flight and pages waiting for the handler, at most
	attempts int // for one request
	pageSize int
	filter   Filter
	all      bool // the Regions are a guess: one that isn't enabled is skipped
	regions  int  // of each account
	probe    bool // Test: one request a partition, nothing is delivered
	captured time.Time

	ledger *ledger
	parts  []*partition // in the order of the result
	active *list.List   // of *partition: those that may start requests, least recently served first

	group    errgroup.Group
	inFlight int
	fetched  chan fetched
	admitted chan *account // their credentials were retrieved, or not

	queue   []delivery // fetched pages, oldest first
	current *delivery  // the page that the handler has
	pages   chan Page  // to the handler; closed at the end
	answers chan error // from the handler; closed when it is gone
}

// account is an account session during one sync.
type account struct {
	*session
	waiting bool  // for credentials
	err     error // that kept it from getting any
	trusted bool  // a request was authenticated: the key is good
}

// partition is what the loop knows of one partition.
type partition struct {
	Partition
	account *account
	client  LookupEventsAPIClient
	pacer   *pacer
	latency time.Duration // running mean of the answers
	readyAt time.Time     // the pacer lets no request in before
	plan    plan
	total   time.Duration // of the windows to read
	readers []*reader     // with something left to fetch or to store, newest first
	owed    owed          // by what the handler has stored; zero: as the token says
	res     PartitionResult
	answers int           // requests that succeeded
	done    bool          // nothing more will come of it
	refused error         // perhaps just because the Region isn't enabled
	element *list.Element // in active, or nil
}

// reader is a walk and the request that it is at.
type reader struct {
	*walk
	inFlight  bool
	attempt   int       // attempts made at this request
	started   time.Time // the one in flight
	cancel    context.CancelFunc
	hurried   bool      // it was given up, see hurry
	notBefore time.Time // backoff
	renewed   bool      // the session was renewed for this request
	unstored  int       // pages in the queue or with the handler
}

// fetched is what one attempt brought.
type fetched struct {
	part    *partition
	reader  *reader
	started time.Time
	records []CloudResource
	next    string
	err     error
}

// errHandlerGone stops the loop when the handler panicked: its last page isn't
// stored.
var errHandlerGone = errors.New("the handler did not return")

const (
	mostParts     = 100             // that a walk is split into at once
	leastPart     = 1.5             // pages expected in each: a part costs about a page more than it has
	enoughAnswers = 20              // to know how long the partition's requests take
	leastOverdue  = 5 * time.Second // when a request is overdue at the earliest
)

// errCircle ends a partition whose NextTokens lead nowhere.
var errCircle = errors.New("NextTokens lead nowhere: no new event")

// forever is longer than any wait.
const forever = time.Duration(math.MaxInt64)

// run is the loop. It returns nil when everything that can be read is
// delivered, else why it stopped early. No goroutine is left then, and every
// page that the handler stored counts.
func (s *scheduler) run(ctx context.Context) error {
	defer close(s.pages)
	ctx, cancel := context.WithCancel(ctx)
	s.retrieve(ctx)
	err := s.loop(ctx)
	cancel()
	s.group.Wait()
	if s.current != nil { // its answer is still to come
		answer, ok := <-s.answers
		err = cmp.Or(s.stored(answer, ok), err)
	}
	return err
}

func (s *scheduler) loop(ctx context.Context) error {
	timer := time.NewTimer(forever)
	defer timer.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.offer() // first: it makes room
		if wake := s.start(ctx); wake < forever {
			timer.Reset(wake)
		} else {
			timer.Stop()
		}
		if s.active.Len() == 0 && s.inFlight == 0 && len(s.queue) == 0 && s.current == nil {
			return nil
		}
		select {
		case f := <-s.fetched:
			if f.err != nil && ctx.Err() != nil {
				return ctx.Err() // its error says no more
			}
			s.arrived(f)
			s.finish(f.part)
		case a := <-s.admitted:
			s.admit(a)
		case answer, ok := <-s.answers:
			if err := s.stored(answer, ok); err != nil {
				return err
			}
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// retrieve has every account's credentials ready before its first page is asked
// for: inside the SDK's call one attempt at LookupEvents would hide several at
// STS.
func (s *scheduler) retrieve(ctx context.Context) {
	slots := make(chan struct{}, min(s.parallel, len(s.parts)))
	begun := map[*account]bool{}
	for _, p := range s.parts {
		a := p.account
		if !a.waiting || begun[a] {
			continue
		}
		begun[a] = true
		s.group.Go(func() error {
			slots <- struct{}{}
			defer func() { <-slots }()
			a.err = a.retrieve(ctx)
			s.admitted <- a
			return nil
		})
	}
}

func (s *scheduler) admit(a *account) {
	a.waiting = false
	for _, p := range s.parts {
		if p.account == a && a.err != nil {
			s.fail(p, "GetCredentials", a.err)
			s.finish(p)
		}
	}
}

// start makes both passes. It returns how long to wait before something else
// may start, if nothing happens before.
func (s *scheduler) start(ctx context.Context) time.Duration {
	now, wake := time.Now(), forever
	for pass, pick := range []func(*partition, time.Time) (*reader, time.Duration){idleReader, s.splitReader} {
		for again := true; again; {
			again = false
			e := s.active.Front()
			for range s.active.Len() {
				if s.inFlight+len(s.queue) >= s.parallel {
					return forever // until something comes back or is handed over
				}
				p := e.Value.(*partition)
				e = e.Next()
				r, wait := pick(p, now)
				if r == nil {
					if pass == 1 {
						wake = min(wake, p.hurry(now, s.attempts))
					}
					continue
				}
				if wait == 0 {
					wait = p.take(now)
				}
				if wait > 0 {
					wake = min(wake, wait)
					continue
				}
				if r.inFlight {
					r = s.split(p, r, now)
				}
				s.launch(ctx, p, r, now)
				if math.IsInf(s.opts.rate, 1) {
					again = true
				} else {
					wake = min(wake, p.take(now)) // its next turn
				}
			}
		}
	}
	return wake
}

// idleReader returns the walk whose turn it is, and how long its backoff lasts.
func idleReader(p *partition, now time.Time) (next *reader, wait time.Duration) {
	if p.account.waiting {
		return nil, 0
	}
	for _, r := range p.readers {
		if !r.inFlight && !r.fetched && (next == nil || r.notBefore.Before(next.notBefore)) {
			next = r
		}
	}
	if next != nil {
		wait = max(0, next.notBefore.Sub(now))
	}
	return next, wait
}

// splitReader returns the walk to split, if all of the partition's are in
// flight and one of them is worth it.
func (s *scheduler) splitReader(p *partition, _ time.Time) (best *reader, wait time.Duration) {
	most := 0.0
	for _, r := range p.readers {
		if r.fetched {
			continue
		}
		if !r.inFlight {
			return nil, 0
		}
		if _, ok := r.splitAt(s.pageSize, 0); ok && r.expected() > most {
			best, most = r, r.expected()
		}
	}
	return best, 0
}

// split splits a walk and returns the new one. As many splits as the quota
// allows before a page comes back are going to follow, if there is enough to
// read for so many.
func (s *scheduler) split(p *partition, r *reader, now time.Time) *reader {
	back := forever
	for _, r := range p.readers {
		if r.inFlight {
			back = min(back, r.started.Add(p.latency).Sub(now))
		}
	}
	follow := min(
		float64(s.parallel-s.inFlight-len(s.queue)-1),
		s.opts.rate*max(1, back-1).Seconds(), // never 0, which times +Inf is no number
		r.expected()/(leastPart*float64(s.pageSize))-2,
		mostParts)
	mid, ok := r.splitAt(s.pageSize, int(max(0, follow)))
	if !ok { // the parts would be shorter than a second
		mid, _ = r.splitAt(s.pageSize, 0)
	}
	older := &reader{walk: r.walk.split(mid)}
	p.readers = slices.Insert(p.readers, slices.Index(p.readers, r)+1, older)
	return older
}

// hurry gives up requests that take far longer than the partition's others did,
// where all its walks are in flight and none is worth a split: their next
// attempt is likely to be faster, and the end of a sync doesn't wait for one
// page of 35 s. Most of a request's attempts are left to take their time. It
// returns how long to wait until the next is overdue.
func (p *partition) hurry(now time.Time, attempts int) time.Duration {
	if p.answers < enoughAnswers {
		return forever
	}
	next, limit := forever, max(leastOverdue, 2*p.latency)
	for _, r := range p.readers {
		if !r.inFlight && !r.fetched {
			return forever
		}
		if r.fetched || r.hurried || 3*r.attempt > attempts {
			continue
		}
		if overdue := r.started.Add(limit).Sub(now); overdue > 0 {
			next = min(next, overdue)
			continue
		}
		r.hurried = true
		r.cancel()
	}
	return next
}

// take asks the pacer; what it said of the future is kept, so that most passes
// need no lock.
func (p *partition) take(now time.Time) time.Duration {
	if wait := p.readyAt.Sub(now); wait > 0 {
		return wait
	}
	wait := p.pacer.take(now)
	p.readyAt = now.Add(wait)
	return wait
}

// launch starts one attempt. Its goroutine fetches and maps, and nothing else.
func (s *scheduler) launch(ctx context.Context, p *partition, r *reader, now time.Time) {
	r.inFlight = true
	r.attempt++
	r.started, r.hurried = now, false
	s.inFlight++
	attemptCtx, cancel := context.WithCancel(ctx)
	r.cancel = cancel
	p.res.Requests++
	if r.attempt > 1 {
		p.res.Retries++
	}
	s.active.MoveToBack(p.element)
	in, attempt := r.input(s.pageSize, s.filter), r.attempt
	mapping := func(e types.Event) CloudResource { return mapEvent(e, p.Region, s.captured, s.opts.raw) }
	s.group.Go(func() error {
		defer cancel()
		f := fetched{part: p, reader: r, started: now}
		f.records, f.next, f.err = lookup(attemptCtx, p.client, in, mapping)
		if f.err != nil {
			f.err = scrub(f.err)
		}
		if observe := s.opts.observer.Request; observe != nil {
			observe(RequestInfo{p.Partition, attempt, len(f.records), time.Since(now), f.err})
		}
		select {
		case s.fetched <- f:
		case <-ctx.Done(): // the loop has ended
		}
		return nil
	})
}

// arrived takes what an attempt brought.
func (s *scheduler) arrived(f fetched) {
	p, r := f.part, f.reader
	s.inFlight--
	r.inFlight = false
	if f.err != nil {
		s.failed(f)
		return
	}
	p.pacer.succeeded()
	p.answers++
	p.latency += (time.Since(f.started) - p.latency) / time.Duration(min(p.answers, 16))
	p.account.trusted = true
	r.attempt, r.renewed = 0, false
	filled := len(f.records) >= s.pageSize || s.opts.client == nil && 2*len(f.records) >= s.pageSize
	records := r.take(f.records, f.next, filled)
	if s.probe {
		r.fetched, records = true, nil
	}
	if len(records) > 0 {
		r.unstored++
		s.queue = append(s.queue, delivery{p, r, records, r.frontier})
	}
	if !r.fetched && r.replays > s.attempts {
		s.fail(p, "LookupEvents", fmt.Errorf("%w after %d replays", errCircle, s.attempts))
	}
	s.settle(p)
}

// failed decides whether a failed attempt is followed by another.
func (s *scheduler) failed(f fetched) {
	p, r, now := f.part, f.reader, time.Now()
	kind, wait := classify(f.err), time.Duration(0)
	if _, ok := stsOperation(f.err); ok && kind == throttled {
		kind = transient // a role that had to be assumed again: not CloudTrail's quota
	}
	if took := now.Sub(f.started); r.hurried && took > p.latency {
		p.latency += (took - p.latency) / 16 // it takes that long at least
	}
	switch kind {
	case throttled:
		p.res.Throttles++
		p.pacer.throttled(f.started, now)
		wait = backoff(r.attempt)
	case transient:
		if !r.hurried || !errors.Is(f.err, context.Canceled) {
			wait = backoff(r.attempt)
		}
	case expired:
		if r.renewed {
			kind = fatal
			break
		}
		r.renewed = true
		p.account.renew(f.started)
	case stale:
		if r.nextToken == "" || r.replays >= s.attempts {
			kind = fatal
		}
	}
	if p.element == nil { // the partition failed meanwhile
		return
	}
	if kind == fatal || r.attempt >= s.attempts {
		s.fail(p, "LookupEvents", f.err)
		return
	}
	if kind == stale {
		r.replay()
	}
	r.notBefore = now.Add(wait)
	s.log.Debug("retry", "partition", p.String(), "attempt", r.attempt, "wait", wait, "error", f.err)
	if observe := s.opts.observer.Retry; observe != nil {
		observe(RetryInfo{p.Partition, r.attempt, wait, f.err})
	}
}

// fail ends a partition: no request is started any more. What is in flight and
// in the queue is still delivered.
func (s *scheduler) fail(p *partition, op string, err error) {
	if p.element == nil {
		return
	}
	failed := newPartitionError(p.Partition, op, err)
	probe := s.all && p.answers == 0 && failed.Op == "LookupEvents" // and not AssumeRole, say
	if failed.Op == "LookupEvents" && isAccessDenied(err) {
		p.account.trusted = true
	}
	switch {
	case probe && isPolicyDeny(err):
		p.res.Skipped = "denied by a service control policy"
	case probe && isUnknownKey(err) && !enabledByDefault(p.Region):
		p.refused = err
	default:
		p.res.Err = failed
		s.log.Warn("partition failed", "partition", p.String(), "error", failed)
	}
	s.deactivate(p)
}

func (s *scheduler) deactivate(p *partition) {
	if p.element != nil {
		s.active.Remove(p.element)
		p.element = nil
	}
}
