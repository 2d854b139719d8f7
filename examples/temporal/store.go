package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/cloudtrail-connector/cloudtrail"
)

// Store is the durable truth behind the sink: records, and for each partition
// the token up to which they are stored. Temporal may run an activity twice,
// and a process may come back from the dead long after its work was given to
// another, so only the store can say whose writes count. It does so by a fence.
//
// A real one is two tables of a database; DEPLOY.md has the statements.
type Store interface {
	// Begin numbers a new sync of that name, higher than all before.
	Begin(ctx context.Context, sync string) (epoch int64, err error)

	// Claim makes the caller the only writer of a row and returns its token, both
	// in one step: whoever held the row before can't write between. A fence that
	// isn't above the row's gives ErrFenced.
	Claim(ctx context.Context, key Key, f Fence) (cloudtrail.SyncToken, error)

	// Put stores the records, an upsert by UID, and the token, in one step, if
	// the row still has that fence; else nothing is stored: ErrFenced.
	Put(ctx context.Context, key Key, f Fence, records []cloudtrail.CloudResource, token cloudtrail.SyncToken) error

	// Tokens returns the tokens of all partitions of a sync.
	Tokens(ctx context.Context, sync string) ([]cloudtrail.SyncToken, error)
}

// Key names a row: a partition of a sync. With no partition it is the row of
// the sync itself, which holds the merged token.
type Key struct{ Sync, Partition string }

// Fence orders the writers of a row. The store numbers the syncs and Temporal
// the attempts within one, so that a later writer always has the higher fence,
// whatever any clock says. Two writers with the same one can't both claim.
type Fence struct {
	Epoch   int64 // of the sync, from Store.Begin
	Attempt int64 // of the activity
}

func (f Fence) compare(g Fence) int {
	return cmp.Or(cmp.Compare(f.Epoch, g.Epoch), cmp.Compare(f.Attempt, g.Attempt))
}

// ErrFenced says that somebody else has the row now.
var ErrFenced = errors.New("fenced: the partition was given to another worker")

// memoryStore is a Store for the demo and the tests: what a database would do,
// without its durability. It is safe for concurrent use.
type memoryStore struct {
	mu      sync.Mutex
	epochs  map[string]int64
	rows    map[Key]row
	records map[string]cloudtrail.CloudResource // by UID
}

type row struct {
	fence Fence
	token cloudtrail.SyncToken
}

func newMemoryStore() *memoryStore {
	return &memoryStore{epochs: map[string]int64{}, rows: map[Key]row{}, records: map[string]cloudtrail.CloudResource{}}
}

func (s *memoryStore) Begin(_ context.Context, sync string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epochs[sync]++
	return s.epochs[sync], nil
}

func (s *memoryStore) Claim(_ context.Context, key Key, f Fence) (cloudtrail.SyncToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rows[key]
	if f.compare(r.fence) <= 0 {
		return cloudtrail.SyncToken{}, ErrFenced
	}
	r.fence = f
	s.rows[key] = r
	return r.token, nil
}

func (s *memoryStore) Put(_ context.Context, key Key, f Fence, records []cloudtrail.CloudResource, token cloudtrail.SyncToken) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rows[key]
	if f != r.fence {
		return ErrFenced
	}
	for _, record := range records {
		s.records[record.UID] = record
	}
	r.token = token
	s.rows[key] = r
	return nil
}

func (s *memoryStore) Tokens(_ context.Context, sync string) ([]cloudtrail.SyncToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []Key
	for key := range s.rows {
		if key.Sync == sync && key.Partition != "" {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return strings.Compare(a.Partition, b.Partition) })
	tokens := make([]cloudtrail.SyncToken, len(keys))
	for i, key := range keys {
		tokens[i] = s.rows[key].token
	}
	return tokens, nil
}
