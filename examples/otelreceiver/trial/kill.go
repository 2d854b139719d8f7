package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// patience is for one step on a slow and busy machine; none takes a minute on
// another.
const patience = 4 * time.Minute

// incomplete is how the receiver's log says that a sync ended early.
const incomplete = "the sync is not complete"

// killing takes a Collector through everything that must lose no event, and
// checks that each one reached the sink, nearly all of them once.
func killing(ctx context.Context, c *collector, s *sink, ids map[string]bool) error {
	start := func() error { return c.start("collector.yaml", filepath.Join("trial", "trial.yaml")) }
	interruptions := 0
	if err := start(); err != nil {
		return err
	}
	taken := func(n int) func() bool {
		return func() bool { different, _ := s.counts(); return different >= n }
	}
	for i, n := range []int{1, 150, 300, 450, 600, 750, 900} {
		if err := c.wait(ctx, fmt.Sprintf("%d events", n), taken(n)); err != nil {
			return err
		}
		when := "just taken"
		if i%2 == 1 {
			when = "on its way"
			before := s.held.Load()
			s.hold.Store(true)
			if err := c.wait(ctx, "a page on its way", func() bool { return s.held.Load() > before }); err != nil {
				return err
			}
		}
		c.kill()
		s.hold.Store(false)
		interruptions++
		different, _ := s.counts()
		fmt.Printf("SIGKILL after %d of %d events, with a page %s\n", different, len(ids), when)
		if different >= len(ids) {
			return errors.New("that was not in the middle")
		}
		if err := start(); err != nil {
			return err
		}
	}

	if err := c.wait(ctx, "1150 events", taken(1150)); err != nil {
		return err
	}
	s.stop()
	failed := func(n int) func() bool {
		before := strings.Count(c.log.String(), incomplete)
		return func() bool { return strings.Count(c.log.String(), incomplete) >= before+n }
	}
	if err := c.wait(ctx, "two syncs to fail", failed(2)); err != nil {
		return err
	}
	different, _ := s.counts()
	fmt.Printf("the sink is down after %d events; the Collector goes on trying\n", different)
	c.kill()
	interruptions += 3
	fmt.Println("SIGKILL while the sink is down")
	if err := start(); err != nil {
		return err
	}
	if err := c.wait(ctx, "a sync to fail", failed(1)); err != nil {
		return err
	}
	interruptions++
	if still, _ := s.counts(); still != different {
		return errors.New("the sink took events while it was down")
	}
	if err := c.wait(ctx, "the sink's port", func() bool { return s.start() == nil }); err != nil {
		return err
	}
	fmt.Println("the sink is back")
	if err := c.wait(ctx, "every event", taken(len(ids))); err != nil {
		return fmt.Errorf("%w; missing: %v", err, s.missing(ids))
	}

	if err := c.terminate(); err != nil {
		return err
	}
	fmt.Println("SIGTERM: the Collector ended in good order")
	if missing := s.missing(ids); len(missing) > 0 {
		return fmt.Errorf("lost: %v", missing)
	}
	different, again := s.counts()
	fmt.Printf("%d events reached the sink, %d came again after %d interruptions\n", different, again, interruptions)
	switch {
	case different != len(ids):
		return errors.New("there are records of events that never were")
	case len(s.odd) > 0:
		return fmt.Errorf("records that lack something: %v", s.odd)
	// A page that was taken but not yet noted, and in each Region the second at
	// which a sync stopped. Starting over would be hundreds.
	case again > interruptions*15:
		return errors.New("too many came again: does the Collector go on from its token?")
	}
	return nil
}

// wait waits until done answers true. An error says what was waited for.
func (c *collector) wait(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !done() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-c.exited:
			return c.problem(fmt.Errorf("ended before %s: %v", what, c.err))
		case <-ctx.Done():
			return c.problem(fmt.Errorf("waiting for %s: %w", what, ctx.Err()))
		}
	}
	return nil
}

// missing returns the events that the sink doesn't have.
func (s *sink) missing(ids map[string]bool) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var missing []string
	for id := range ids {
		if s.taken[id] == 0 {
			missing = append(missing, id)
		}
	}
	return missing
}
