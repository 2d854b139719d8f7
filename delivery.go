package cloudtrail

import (
	"slices"
	"time"
)

// delivery is a page on its way to the handler.
type delivery struct {
	part     *partition
	reader   *reader
	records  []CloudResource
	frontier time.Time // of the walk once this page is stored
}

// settle drops the walks of which everything is stored and notes what the
// partition owes now.
func (s *scheduler) settle(p *partition) {
	p.readers = slices.DeleteFunc(p.readers, func(r *reader) bool { return r.fetched && r.unstored == 0 })
	p.owed = p.owedAfter(nil)
	if !slices.ContainsFunc(p.readers, func(r *reader) bool { return !r.fetched }) {
		s.deactivate(p)
	}
}

// owedAfter is what the partition owes once d is stored too.
func (p *partition) owedAfter(d *delivery) owed {
	left := make([]window, 0, len(p.readers))
	for _, r := range p.readers {
		w := window{r.start, r.delivered}
		if d != nil && d.reader == r {
			w.end = d.frontier
			if r.fetched && r.unstored == 1 {
				continue
			}
		}
		left = append(left, w)
	}
	return p.plan.after(left)
}

// offer gives the handler the oldest page, if it is idle. The page's token is
// what will be true once the handler has stored it.
func (s *scheduler) offer() {
	if s.current != nil || len(s.queue) == 0 {
		return
	}
	d := s.queue[0]
	s.queue = slices.Delete(s.queue, 0, 1)
	s.current = &d
	d.part.res.Pages++
	d.part.res.Records += len(d.records)
	states := make([]owed, len(s.parts))
	for i, p := range s.parts {
		switch {
		case p == d.part:
			states[i] = p.owedAfter(&d)
		case !p.skipped():
			states[i] = p.owed
		}
	}
	ledger := s.ledger
	s.pages <- Page{
		Partition: d.part.Partition,
		Records:   d.records,
		token:     func() SyncToken { return ledger.token(states) },
	}
}

// stored takes the handler's answer to the page it has. An error ends the sync.
func (s *scheduler) stored(err error, ok bool) error {
	d := s.current
	s.current = nil
	if !ok {
		return errHandlerGone
	}
	if err != nil {
		return err
	}
	d.reader.unstored--
	d.reader.delivered = d.frontier
	s.settle(d.part)
	if !s.finish(d.part) {
		s.progress(d.part)
	}
	return nil
}

// finish reports whether nothing more will come of a partition, and tells the
// observer once.
func (s *scheduler) finish(p *partition) bool {
	busy := func(r *reader) bool { return r.inFlight || r.unstored > 0 }
	if p.done || p.element != nil || slices.ContainsFunc(p.readers, busy) {
		return p.done
	}
	p.done = true
	s.progress(p)
	return true
}

func (s *scheduler) progress(p *partition) {
	observe := s.opts.observer.Progress
	if observe == nil {
		return
	}
	left := time.Duration(0)
	for _, r := range p.readers {
		left += window{r.start, r.delivered}.length()
	}
	covered := 1.0
	if p.total > 0 {
		covered -= float64(left) / float64(p.total)
	}
	observe(Progress{p.Partition, p.res.Records, p.res.Pages, covered, p.done})
}
