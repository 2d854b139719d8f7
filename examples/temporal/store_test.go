package main

import (
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail"
)

// eachStore runs a test against the store itself and against its client in
// another process.
func eachStore(t *testing.T, test func(t *testing.T, s Store, inside *memoryStore)) {
	t.Run("memory", func(t *testing.T) {
		s := newMemoryStore()
		test(t, s, s)
	})
	t.Run("http", func(t *testing.T) {
		s := newMemoryStore()
		server := httptest.NewServer(storeHandler(s))
		t.Cleanup(server.Close)
		test(t, newStoreClient(server.URL, "test"), s)
	})
}

// at returns a token, the later the larger n.
func at(n int) cloudtrail.SyncToken { return cloudtrail.SinceTime(time.Unix(int64(n), 0)) }

func TestOnlyTheHighestFenceWrites(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store, inside *memoryStore) {
		ctx := t.Context()
		key := Key{"sync", "111122223333/us-east-1"}
		record := func(uid, name string) []cloudtrail.CloudResource {
			return []cloudtrail.CloudResource{{UID: uid, Name: name}}
		}
		first, second, later := Fence{1, 1}, Fence{1, 2}, Fence{2, 1}

		token, err := s.Claim(ctx, key, first)
		require.NoError(t, err)
		assert.True(t, token.IsZero(), "a row that nobody has written")
		require.NoError(t, s.Put(ctx, key, first, record("a", "old"), at(10)))

		token, err = s.Claim(ctx, key, second)
		require.NoError(t, err)
		assert.Equal(t, at(10), token)
		require.NoError(t, s.Put(ctx, key, second, record("a", "new"), at(20)))

		assert.ErrorIs(t, s.Put(ctx, key, first, record("b", "zombie"), at(11)), ErrFenced)
		assert.ErrorIs(t, s.Put(ctx, key, later, record("b", "unclaimed"), at(30)), ErrFenced, "it must be claimed first")
		for _, f := range []Fence{first, second} {
			_, err = s.Claim(ctx, key, f)
			assert.ErrorIs(t, err, ErrFenced, "%v must not take the row back", f)
		}
		assert.Equal(t, map[string]cloudtrail.CloudResource{"a": {UID: "a", Name: "new"}}, inside.records, "an upsert, and nothing from who was fenced")

		token, err = s.Claim(ctx, key, later)
		require.NoError(t, err, "the next sync's first attempt follows any attempt of this one")
		assert.Equal(t, at(20), token)
		_, err = s.Claim(ctx, key, Fence{1, 99})
		assert.ErrorIs(t, err, ErrFenced)
	})
}

// Two processes with the same fence can't both believe that the row is theirs.
func TestOneClaimWins(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store, _ *memoryStore) {
		var won atomic.Int32
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				if _, err := s.Claim(t.Context(), Key{"sync", "p"}, Fence{1, 1}); err == nil {
					won.Add(1)
				} else {
					assert.ErrorIs(t, err, ErrFenced)
				}
			})
		}
		all.Wait()
		assert.EqualValues(t, 1, won.Load())
	})
}

func TestSyncsAreNumberedAndApart(t *testing.T) {
	eachStore(t, func(t *testing.T, s Store, _ *memoryStore) {
		ctx := t.Context()
		for want := range int64(3) {
			epoch, err := s.Begin(ctx, "a")
			require.NoError(t, err)
			assert.Equal(t, want+1, epoch)
		}
		epoch, err := s.Begin(ctx, "b")
		require.NoError(t, err)
		assert.EqualValues(t, 1, epoch)

		for i, key := range []Key{{"a", "p"}, {"a", "q"}, {"b", "p"}, {Sync: "a"}} {
			_, err := s.Claim(ctx, key, Fence{1, 1})
			require.NoError(t, err)
			require.NoError(t, s.Put(ctx, key, Fence{1, 1}, nil, at(i+1)))
		}
		tokens, err := s.Tokens(ctx, "a")
		require.NoError(t, err)
		assert.Equal(t, []cloudtrail.SyncToken{at(1), at(2)}, tokens, "the partitions' and not the sync's own")
	})
}

func TestStoreThatIsAway(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	_, err := newStoreClient(server.URL, "test").Begin(t.Context(), "a")
	require.Error(t, err)
	assert.NotErrorIs(t, err, ErrFenced)
}
