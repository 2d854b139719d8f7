package cloudtrail

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Handler is given each page of a Sync, one call at a time, on the goroutine
// that called Sync. When it returns nil the page counts as stored. An error
// ends the sync: Sync returns it, and no token covers the page.
type Handler func(ctx context.Context, page Page) error

// Page is what one LookupEvents request returned, mapped. It has one record at
// least.
type Page struct {
	Partition Partition
	Records   []CloudResource

	token func() SyncToken
}

// Token returns where to go on if everything stops once this page is stored:
// it covers exactly the pages that the handler has accepted, and this one. It
// may be called at any time, also after the sync. It is the zero token for a
// Page made by hand.
func (p Page) Token() SyncToken {
	if p.token == nil {
		return SyncToken{}
	}
	return p.token()
}

// SyncResult is what a Sync did.
type SyncResult struct {
	// Token is the Since of the next sync; valid also when Sync returned an error.
	// Events arrive late, so the last 15 minutes are read again.
	Token SyncToken

	Records, Pages int // handed over
	Partitions     []PartitionResult
}

// PartitionResult is what a Sync did in one partition.
type PartitionResult struct {
	Partition Partition

	Records   int // handed over
	Pages     int // handed over
	Requests  int // attempts
	Throttles int // attempts that were answered by throttling
	Retries   int // attempts after the first of a request

	Complete bool   // everything in the window was delivered
	Skipped  string // why it was not read, e.g. "Region not enabled"
	Err      error  // a *PartitionError, or nil
}

// defaultLookback is in days.
const defaultLookback = 7

// Sync reads every event in the window that o describes, in every partition,
// and hands it to h page by page. It returns when everything is delivered, when
// h returns an error or when ctx ends, with no goroutine left.
//
// A partition that fails doesn't stop the others: the error then joins a
// *PartitionError for each, and the result's token keeps what they owe. Bad
// options give *ConfigErrors, joined, Partitions after the others; a Since that
// was made with another filter gives an error that matches ErrInvalidToken.
// Neither reads anything.
func (c *Connector) Sync(ctx context.Context, o SyncOptions, h Handler) (SyncResult, error) {
	unread := SyncResult{Token: o.Since}
	if err := o.validate(); err != nil {
		return unread, err
	}
	if h == nil {
		return unread, &ConfigError{Field: "Handler", Reason: "is missing"}
	}
	prior := o.Since.state()
	switch filter := o.Filter.String(); {
	case prior.mixed:
		return unread, fmt.Errorf("%w: it was merged from tokens with different filters", ErrInvalidToken)
	case prior.filtered && prior.filter != filter:
		return unread, fmt.Errorf("%w: it was made with the filter %q, not %q; a filter needs a token of its own", ErrInvalidToken, prior.filter, filter)
	}
	s, err := c.newScheduler(ctx, o)
	if err != nil {
		return unread, err
	}
	s.ledger.since, s.ledger.prior = o.Since, prior

	now := s.captured
	end := now
	if !o.Until.IsZero() {
		end = earlier(o.Until.Round(0), now)
	}
	days := o.LookbackDays
	if days == 0 {
		days = defaultLookback
	}
	if days > 90 {
		s.log.Warn("CloudTrail keeps 90 days of events; reading those", "lookbackDays", days)
		days = 90
	}
	lookback := time.Duration(days * 24 * float64(time.Hour))
	if start := now.Add(-lookback); end.Before(start) {
		s.log.Warn("Until is before the lookback window: nothing is read but what an earlier sync left open", "until", end, "lookback", start)
	}
	for i, p := range s.parts {
		p.begin(prior.of(s.ledger.keys[i]).plan(now, end, lookback), end)
		if !p.plan.outside.empty() {
			s.log.Warn("not read: between the sync token and the lookback window", "partition", p.String(), "from", p.plan.outside.start, "to", p.plan.outside.end)
		}
		if p.plan.lost {
			s.log.Warn("owed events are older than the 90 days that CloudTrail keeps", "partition", p.String())
		}
	}
	return s.sync(ctx, h)
}

// Test checks credentials and permission with one request to each partition.
// The error joins a *PartitionError for each one that can't be read. With
// Regions {"all"} those that are not enabled are no error, unless an account
// has no other.
func (c *Connector) Test(ctx context.Context) error {
	s, err := c.newScheduler(ctx, SyncOptions{})
	if err != nil {
		return err
	}
	s.probe, s.pageSize = true, 1
	end := s.captured
	for _, p := range s.parts {
		p.begin(owed{}.plan(end, end, settling), end)
	}
	_, err = s.sync(ctx, nil)
	return err
}

// newScheduler returns a scheduler for the partitions that o asks for; nothing
// is planned yet.
func (c *Connector) newScheduler(ctx context.Context, o SyncOptions) (*scheduler, error) {
	now := time.Now().UTC().Round(0)
	sessions, err := c.sessions(ctx)
	if err != nil {
		return nil, err
	}
	s := &scheduler{
		opts:     c.opts,
		log:      c.opts.logger,
		parallel: c.cfg.ParallelRequests,
		attempts: c.cfg.MaxRetries,
		pageSize: min(c.cfg.PageSize, maxPageSize),
		filter:   o.Filter,
		all:      c.allRegions(),
		regions:  len(c.regions()),
		captured: now,
		ledger:   &ledger{filter: o.Filter.String()},
		active:   list.New(),
		fetched:  make(chan fetched),
		admitted: make(chan *account, len(sessions)),
		pages:    make(chan Page, 1),
		answers:  make(chan error, 1),
	}
	wanted := slices.Clone(o.Partitions)
	for _, session := range sessions {
		a := &account{session: session, waiting: c.opts.client == nil}
		for _, region := range c.regions() {
			p := &partition{Partition: Partition{session.accountID, session.roleARN, region}, account: a}
			key := tokenKey{p.AccountID, p.Region}
			s.ledger.all = append(s.ledger.all, key)
			if len(o.Partitions) > 0 {
				i := slices.IndexFunc(wanted, p.is)
				if i < 0 {
					continue
				}
				wanted = slices.DeleteFunc(wanted, p.is)
			}
			p.res.Partition = p.Partition
			p.pacer = c.pacers.get(Partition{RoleARN: p.RoleARN, Region: p.Region}) // the account may become known later
			if c.opts.client != nil {
				p.client = c.opts.client(p.Partition)
			} else {
				p.client = session.client(region, c.opts.raw)
			}
			s.parts = append(s.parts, p)
			s.ledger.keys = append(s.ledger.keys, key)
			p.element = s.active.PushBack(p)
		}
	}
	if len(wanted) > 0 {
		return nil, &ConfigError{Field: "Partitions", Reason: fmt.Sprintf("%s is not a partition of this connector", wanted[0])}
	}
	return s, nil
}

// is reports whether q names this partition. An unknown account matches.
func (p *partition) is(q Partition) bool {
	return p.Region == q.Region && p.RoleARN == q.RoleARN &&
		(p.AccountID == q.AccountID || p.AccountID == "" || q.AccountID == "")
}

// begin gives the partition the windows to read up to end, inclusive.
func (p *partition) begin(pl plan, end time.Time) {
	p.plan = pl
	for i, w := range slices.Backward(pl.todo) { // the newest first
		p.total += w.length()
		p.readers = append(p.readers, &reader{walk: newWalk(w, i > 0, !w.end.After(end))})
	}
	if len(p.readers) > 0 {
		p.owed = p.owedAfter(nil)
	}
}

// sync runs the loop and, on this goroutine, the handler.
func (s *scheduler) sync(ctx context.Context, h Handler) (SyncResult, error) {
	for _, p := range s.parts {
		if len(p.readers) == 0 { // nothing is owed
			s.deactivate(p)
			s.finish(p)
		}
	}
	stopped, cancel := context.WithCancel(ctx)
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = s.run(stopped)
	}()
	// Also when h panics or ends its goroutine: nothing outlives Sync.
	defer func() {
		cancel()
		close(s.answers)
		<-done
	}()
	for page := range s.pages {
		s.answers <- h(stopped, page)
	}
	<-done
	return s.result(err)
}

// result says what was done; stopped is why the loop ended early, or nil.
func (s *scheduler) result(stopped error) (SyncResult, error) {
	var res SyncResult
	errs := []error{stopped}
	states := make([]owed, len(s.parts))
	skipped := map[*account]int{}
	for i, p := range s.parts {
		s.conclude(p)
		if p.res.Err != nil {
			errs = append(errs, p.res.Err)
		}
		if !p.skipped() {
			states[i] = p.owed
		} else if skipped[p.account]++; skipped[p.account] == s.regions {
			everywhere := Partition{p.AccountID, p.RoleARN, "all"}
			errs = append(errs, newPartitionError(everywhere, "LookupEvents", fmt.Errorf("%w, the last one because: %s", errSkipped, p.res.Skipped)))
		}
		res.Records += p.res.Records
		res.Pages += p.res.Pages
		res.Partitions = append(res.Partitions, p.res)
	}
	res.Token = s.ledger.token(states)
	return res, errors.Join(errs...)
}

// conclude settles what could not be told before the end. A Region that isn't
// enabled answers as for a wrong key, so it is skipped only if the key was good
// elsewhere.
func (s *scheduler) conclude(p *partition) {
	if p.refused != nil {
		if p.skipped() {
			p.res.Skipped = "Region not enabled"
			s.log.Info("partition skipped", "partition", p.String(), "reason", p.res.Skipped)
		} else {
			p.res.Err = newPartitionError(p.Partition, "LookupEvents", p.refused)
		}
	}
	p.res.Complete = len(p.readers) == 0
}

// skipped reports whether the partition is, or will be, left out.
func (p *partition) skipped() bool {
	return p.res.Skipped != "" || p.refused != nil && (p.account.trusted || p.account.verified())
}
