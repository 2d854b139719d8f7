package otelreceiver

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer/consumererror"
)

const (
	ok          = componentstatus.StatusOK
	recoverable = componentstatus.StatusRecoverableError
	permanent   = componentstatus.StatusPermanentError
)

// firstSync is time enough for a sync of newFake, far from the second one.
const firstSync = 4 * time.Minute

func TestEveryEventIsALogRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, ids := newFake()
		h, next := newHost(), &pipeline{}
		r, _ := start(t, testConfig(), fake, h, next)
		time.Sleep(firstSync)
		requireTaken(t, ids, next, 0)
		require.Equal(t, []componentstatus.Status{ok}, h.statuses())
		require.Equal(t, []component.ID{r.set.ID}, h.opened)

		time.Sleep(time.Hour) // many intervals with nothing new
		require.NoError(t, r.Shutdown(t.Context()))
		requireTaken(t, ids, next, 0)
		require.Equal(t, 1, h.closed)
		require.Equal(t, r.sync.Since.String(), h.token())
	})
}

// A Collector may be killed between any two steps. Whatever the storage holds
// then, a new one delivers every event that the pipeline didn't take.
func TestKilledAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, ids := newFake()
		h, next := newHost(), &pipeline{}
		type killed struct {
			values map[string]string
			taken  map[string]int
		}
		moments := []killed{{nil, nil}}
		h.onSet = func(values map[string]string) { moments = append(moments, killed{values, next.ids()}) }
		r, _ := start(t, testConfig(), fake, h, next)
		time.Sleep(firstSync)
		require.NoError(t, r.Shutdown(t.Context()))
		require.Greater(t, len(moments), 10)

		for i, m := range moments {
			h, again := newHost(), &pipeline{}
			maps.Copy(h.values, m.values)
			r, _ := start(t, testConfig(), fake, h, again)
			time.Sleep(firstSync)
			require.NoError(t, r.Shutdown(t.Context()))
			repeated := 0
			for id := range ids {
				n := m.taken[id] + again.ids()[id]
				require.Positive(t, n, "moment %d: event %s is lost", i, id)
				repeated += n - 1
			}
			require.LessOrEqual(t, repeated, 2, "moment %d", i) // see requireTaken
		}
	})
}

// The token moves only after the pipeline has taken the page.
func TestPipelineErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		then []componentstatus.Status
	}{
		"retryable": {errors.New("queue is full"), []componentstatus.Status{recoverable, recoverable, ok}},
		// No status comes after a permanent error, but the receiver goes on.
		"permanent": {consumererror.NewPermanent(errors.New("401")), []componentstatus.Status{permanent}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, ids := newFake()
				h, next := newHost(), &pipeline{}
				next.fail = func(n int) error {
					if n >= 4 && time.Since(begin) < 8*time.Minute { // the first two syncs
						return c.err
					}
					return nil
				}
				r, logs := start(t, testConfig(), fake, h, next)
				time.Sleep(firstSync)
				require.EqualValues(t, 4, next.calls.Load(), "the error ends the sync")
				require.Equal(t, c.then[:1], h.statuses())
				require.ErrorIs(t, h.firstError(), c.err)
				require.Len(t, next.ids(), 30)
				require.Equal(t, 1, logs.FilterMessageSnippet("the next interval goes on").Len())

				// The stored token covers the three pages that were taken, no more.
				token, err := cloudtrail.ParseSyncToken(h.token())
				require.NoError(t, err)
				rest := read(t, fake, token)
				for id := range ids {
					require.True(t, rest[id] || next.ids()[id] == 1, "event %s is lost", id)
				}
				require.LessOrEqual(t, len(rest), len(ids)-30+2)

				time.Sleep(10 * time.Minute) // one more sync that fails, one that doesn't
				require.NoError(t, r.Shutdown(t.Context()))
				require.Equal(t, c.then, h.statuses())
				requireTaken(t, ids, next, 2*2)
			})
		})
	}
}

// While the pipeline refuses everything time passes, and what was in
// lookback_days at the first sync is still owed.
func TestPipelineDownForLongerThanTheLookback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, ids := newFake()
		h, next := newHost(), &pipeline{}
		next.fail = func(int) error {
			if time.Since(begin) < 10*24*time.Hour {
				return errors.New("down")
			}
			return nil
		}
		cfg := testConfig()
		cfg.CollectionInterval = 24 * time.Hour
		for range 2 { // a new start changes nothing
			r, _ := start(t, cfg, fake, h, next)
			time.Sleep(6 * 24 * time.Hour)
			require.NoError(t, r.Shutdown(t.Context()))
		}
		requireTaken(t, ids, next, 0)
	})
}

func TestStorageFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, ids := newFake()
		h, next := newHost(), &pipeline{}
		full := errors.New("no space left")
		h.fail = func() error {
			if time.Since(begin) < firstSync {
				return full
			}
			return nil
		}
		r, _ := start(t, testConfig(), fake, h, next)
		time.Sleep(firstSync)
		require.EqualValues(t, 1, next.calls.Load())
		require.Equal(t, []componentstatus.Status{recoverable}, h.statuses())
		require.ErrorIs(t, h.firstError(), full)
		time.Sleep(5 * time.Minute)
		require.NoError(t, r.Shutdown(t.Context()))
		require.Equal(t, []componentstatus.Status{recoverable, ok}, h.statuses())
		requireTaken(t, ids, next, 10) // the page whose token could not be kept
	})
}

// The end of a sync is read again by the next ones, for events that come late.
// Those are new log records; the others are not sent again.
func TestLateEventsAndTheOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
		region.SetDelay(func(e cloudtrailtest.Event) time.Duration {
			if e.EventName == "Late" {
				return 10 * time.Minute
			}
			return 0
		})
		now, ids := time.Now(), map[string]bool{}
		for i := range 60 { // two a minute, into the future
			name := "Early"
			if i%5 == 0 {
				name = "Late"
			}
			id := fmt.Sprintf("event-%d", i)
			region.Add(cloudtrailtest.Event{EventID: id, EventName: name, EventTime: now.Add(time.Duration(i-20) * 30 * time.Second)})
			ids[id] = true
		}
		// Without an id they can't be told apart: both come, and come again, and a
		// later one isn't taken for one of them.
		for _, at := range []time.Duration{-time.Minute, -time.Minute, 3 * time.Minute} {
			region.Add(cloudtrailtest.Event{EventName: "NoID", EventTime: now.Add(at)})
		}
		h, next := newHost(), &pipeline{}
		r, _ := start(t, testConfig(), fake, h, next)
		time.Sleep(time.Hour)
		require.NoError(t, r.Shutdown(t.Context()))
		got := next.ids()
		for at, n := range map[time.Duration]int{-time.Minute: 2 * 3, 3 * time.Minute: 3} {
			uid := "us-east-1:NoID:" + now.Add(at).UTC().Format(time.RFC3339) + ":"
			require.GreaterOrEqual(t, got[uid], n)
			delete(got, uid)
		}
		for id := range ids {
			require.Equal(t, 1, got[id], id)
		}
		require.Len(t, got, len(ids))
		for _, seen := range r.recent {
			require.Empty(t, seen, "what will not come again is forgotten")
		}
	})
}

// However far back a sync reads, only its end is remembered.
func TestRecentHoldsOnlyWhatComesAgain(t *testing.T) {
	now, r, p := time.Now(), recent{}, cloudtrail.Partition{Region: "us-east-1"}
	at := func(id string, ago time.Duration) cloudtrail.CloudResource {
		return cloudtrail.CloudResource{EventID: id, EventTime: now.Add(-ago), LastCaptured: now}
	}
	r.add(p, []cloudtrail.CloudResource{at("new", 0), at("edge", settling), at("old", settling+1)})
	require.Equal(t, recent{p: {"new": now, "edge": now.Add(-settling)}}, r)
}

func TestOneRegionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, _ := newFake()
		denied := fake.Account(cloudtrailtest.AccountID).Region("eu-central-1")
		denied.Deny("not authorized")
		h, next := newHost(), &pipeline{}
		r, logs := start(t, testConfig(), fake, h, next)
		time.Sleep(firstSync)
		require.Len(t, next.ids(), 60)
		require.Equal(t, []componentstatus.Status{recoverable}, h.statuses())
		require.ErrorContains(t, h.firstError(), "allow cloudtrail:LookupEvents")
		require.ErrorContains(t, h.firstError(), "111122223333/eu-central-1")
		require.Equal(t, 1, logs.FilterMessageSnippet("the sync is not complete").Len())
		denied.Deny("")
		time.Sleep(5 * time.Minute)
		require.NoError(t, r.Shutdown(t.Context()))
		require.Len(t, next.ids(), 95)
		require.Equal(t, []componentstatus.Status{recoverable, ok}, h.statuses())
	})
}

func TestFiltersHaveTokensOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, ids := newFake()
		h, next := newHost(), &pipeline{}
		for _, filter := range []string{"", "ReadOnly=true", ""} {
			cfg := testConfig()
			cfg.Filter = filter
			r, _ := start(t, cfg, fake, h, next)
			time.Sleep(firstSync)
			require.NoError(t, r.Shutdown(t.Context()))
		}
		require.NotContains(t, h.statuses(), permanent)
		require.Len(t, h.values, 2)
		twice := 0
		for id := range ids {
			if next.ids()[id] == 2 {
				twice++
			}
		}
		require.NotZero(t, twice)
		require.Less(t, twice, len(ids))
	})
}
