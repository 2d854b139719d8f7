package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/cloudtrail-connector/cloudtrail"
)

// watchedStore is the store of the demo and of the test that kills workers. It
// sees who writes what, and whether a promise is broken.
type watchedStore struct {
	*memoryStore

	watch   sync.Mutex
	holders map[Key]string // the worker that claimed the row last
	pages   map[string]int // stored by each worker
	writes  map[Key]int    // of the row
	fenced  int            // calls refused
	back    []string       // partitions whose token moved backwards: must stay empty
}

func newWatchedStore() *watchedStore {
	return &watchedStore{memoryStore: newMemoryStore(), holders: map[Key]string{}, pages: map[string]int{}, writes: map[Key]int{}}
}

// Claim implements Store.
func (s *watchedStore) Claim(ctx context.Context, key Key, f Fence) (cloudtrail.SyncToken, error) {
	s.watch.Lock()
	defer s.watch.Unlock()
	token, err := s.memoryStore.Claim(ctx, key, f)
	if errors.Is(err, ErrFenced) {
		s.fenced++
		return token, err
	}
	s.holders[key] = caller(ctx)
	return token, err
}

// Put implements Store.
func (s *watchedStore) Put(ctx context.Context, key Key, f Fence, records []cloudtrail.CloudResource, token cloudtrail.SyncToken) error {
	s.watch.Lock()
	defer s.watch.Unlock()
	before := s.token(key)
	if err := s.memoryStore.Put(ctx, key, f, records, token); err != nil {
		s.fenced++
		return err
	}
	s.writes[key]++
	if key.Partition == "" {
		return nil
	}
	// What both owe is what the later one owes, if that owes no more.
	if cloudtrail.MergeTokens(before, token) != token {
		s.back = append(s.back, key.Partition)
	}
	if len(records) > 0 {
		s.pages[caller(ctx)]++
	}
	return nil
}

func caller(ctx context.Context) string {
	name, _ := ctx.Value(workerKey{}).(string)
	return name
}

// stored returns how many pages each worker has stored.
func (s *watchedStore) stored() map[string]int {
	s.watch.Lock()
	defer s.watch.Unlock()
	return maps.Clone(s.pages)
}

// verdict returns how many calls were refused by a fence, and the partitions
// whose token moved backwards.
func (s *watchedStore) verdict() (fenced int, back []string) {
	s.watch.Lock()
	defer s.watch.Unlock()
	return s.fenced, slices.Clone(s.back)
}

func (s *watchedStore) token(key Key) cloudtrail.SyncToken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows[key].token
}

// missing returns how many of these ids no record has.
func (s *watchedStore) missing(ids map[string]bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for id := range ids {
		if _, ok := s.records[id]; !ok {
			n++
		}
	}
	return n
}

// size returns how many records there are.
func (s *watchedStore) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}
