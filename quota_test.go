package cloudtrail

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// history of n small events over the last week.
func week(n int) cloudtrailtest.History {
	now := time.Now()
	return small(cloudtrailtest.Uniform(1, n, now.AddDate(0, 0, -7).Add(time.Minute), now.Add(-time.Minute)))
}

func small(h cloudtrailtest.History) cloudtrailtest.History {
	return cloudtrailtest.WithEventSize(h, 0)
}

// burst puts 90 % of n events into one hour that many days ago.
func burst(n int, days float64) cloudtrailtest.History {
	now := time.Now()
	start := now.Add(-time.Duration(days*24*float64(time.Hour)) - time.Hour)
	return small(cloudtrailtest.Bursts(2, n, []time.Time{start}, time.Hour, 0.9, now.AddDate(0, 0, -7).Add(time.Minute), now.Add(-time.Minute)))
}

func bursts(n, count int) cloudtrailtest.History {
	now := time.Now()
	from := now.AddDate(0, 0, -7).Add(time.Hour)
	var at []time.Time
	for i := range count {
		at = append(at, from.Add(time.Duration(i)*now.Sub(from)/time.Duration(count+1)))
	}
	return small(cloudtrailtest.Bursts(3, n, at, time.Second, 1, from, now))
}

func always(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// uneven latencies: 0.5 to 6.5 s, and 35 s for 2 % of the pages.
func uneven(seed uint64) func() time.Duration {
	rng := rand.New(rand.NewPCG(2, seed))
	return func() time.Duration {
		if rng.Float64() < 0.02 {
			return 35 * time.Second
		}
		return 500*time.Millisecond + time.Duration(rng.Int64N(int64(6*time.Second)))
	}
}

// many is how many partitions the tests can have: roles of as many accounts.
func many(fake *cloudtrailtest.Fake, n int) (roles string, regions []*cloudtrailtest.Region) {
	for i := range n {
		a := fake.Account(fmt.Sprintf("%012d", 500000000000+i))
		roles += a.AddRole(cloudtrailtest.Role{Name: "reader"}) + ","
		regions = append(regions, a.Region("us-east-1"))
	}
	return roles[:len(roles)-1], regions
}

type counter struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *counter) handle(_ context.Context, p Page) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]int{}
	}
	for _, r := range p.Records {
		c.seen[p.Partition.AccountID+"/"+p.Partition.Region+"/"+r.EventID]++
	}
	return nil
}

func (c *counter) requireOnce(t testing.TB, events int) {
	t.Helper()
	require.Len(t, c.seen, events, "different events")
	for id, n := range c.seen {
		require.Equal(t, 1, n, "%s was delivered %d times", id, n)
	}
}

// Speed and cost against what the quota allows, in virtual time. Throttles and
// requests in flight are what the fake counted.
func TestAtTheQuota(t *testing.T) {
	const four = 4 * time.Second
	cases := map[string]struct {
		partitions, parallel int
		events               int // of each partition
		history              func() cloudtrailtest.History
		latency              func() time.Duration
		quota                cloudtrailtest.Quota
		handler              time.Duration // for a page

		time, requests, throttles float64 // at most: of the quota's time, of the pages, of the requests
		partitionTime             bool    // for each partition, not on the whole
	}{
		"4 s a page":         {parallel: 16, events: 10_000, history: func() cloudtrailtest.History { return week(10_000) }, latency: always(four), time: 1.13, requests: 1.06},
		"0.2 s a page":       {parallel: 16, events: 10_000, history: func() cloudtrailtest.History { return week(10_000) }, latency: always(200 * time.Millisecond), time: 1.02, requests: 1.01},
		"50,000 events":      {parallel: 16, events: 50_000, history: func() cloudtrailtest.History { return week(50_000) }, latency: always(four), time: 1.04, requests: 1.02},
		"burst now":          {parallel: 16, events: 10_000, history: func() cloudtrailtest.History { return burst(10_000, 0) }, latency: always(four), time: 1.20, requests: 1.10},
		"burst 3 days ago":   {parallel: 16, events: 10_000, history: func() cloudtrailtest.History { return burst(10_000, 3) }, latency: always(four), time: 1.20, requests: 1.10},
		"burst 6.5 days ago": {parallel: 16, events: 10_000, history: func() cloudtrailtest.History { return burst(10_000, 6.5) }, latency: always(four), time: 1.20, requests: 1.10},
		"100 bursts of 1 s":  {parallel: 16, events: 10_000, history: func() cloudtrailtest.History { return bursts(10_000, 100) }, latency: always(four), time: 1.25, requests: 1.15},
		"uneven latency":     {parallel: 64, events: 10_000, history: func() cloudtrailtest.History { return week(10_000) }, latency: uneven(1), time: 1.25},
		"40 partitions":      {partitions: 40, parallel: 64, events: 2_000, history: func() cloudtrailtest.History { return week(2_000) }, latency: always(300 * time.Millisecond), time: 1.03, partitionTime: true},
		"slow handler":       {partitions: 4, parallel: 8, events: 10_000, history: func() cloudtrailtest.History { return week(10_000) }, latency: always(300 * time.Millisecond), handler: 100 * time.Millisecond, time: 1.03},
		"slow handler, 4 s":  {partitions: 4, parallel: 64, events: 20_000, history: func() cloudtrailtest.History { return week(20_000) }, latency: always(four), handler: 100 * time.Millisecond, time: 1.08},
		"strict window":      {parallel: 16, events: 10_000, history: func() cloudtrailtest.History { return week(10_000) }, latency: always(200 * time.Millisecond), quota: cloudtrailtest.Quota{Rate: 2, Window: true, Jitter: 20 * time.Millisecond}, time: 1 / 0.95, throttles: 0.01},
		"strict window, 4 s": {parallel: 16, events: 20_000, history: func() cloudtrailtest.History { return week(20_000) }, latency: always(four), quota: cloudtrailtest.Quota{Rate: 2, Window: true, Jitter: 20 * time.Millisecond}, time: 1.12, throttles: 0.01},
		"half eaten":         {parallel: 16, events: 10_000, history: func() cloudtrailtest.History { return week(10_000) }, latency: always(200 * time.Millisecond), quota: cloudtrailtest.Quota{Others: 1}, time: 2 / 0.9, throttles: 0.1},
		"half eaten, 4 s":    {parallel: 16, events: 20_000, history: func() cloudtrailtest.History { return week(20_000) }, latency: always(four), quota: cloudtrailtest.Quota{Others: 1}, time: 2 / 0.9, throttles: 0.1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := cloudtrailtest.New()
				cfg := Config{ParallelRequests: c.parallel, DefaultRegion: "us-east-1"}
				regions := []*cloudtrailtest.Region{fake.Account(cloudtrailtest.AccountID).Region("us-east-1")}
				if c.partitions > 1 {
					cfg.AssumeRoleARN, regions = many(fake, c.partitions)
				}
				for _, r := range regions {
					r.SetHistory(c.history())
					r.SetLatency(c.latency)
					if c.quota != (cloudtrailtest.Quota{}) {
						r.SetQuota(c.quota)
					}
				}
				start := time.Now()
				slowest := time.Duration(0)
				connector, err := New(t.Context(), cfg, WithAWSConfig(fake.AWSConfig("us-east-1")), WithObserver(Observer{
					Progress: func(p Progress) {
						if p.Done {
							slowest = max(slowest, time.Since(start))
						}
					}}))
				require.NoError(t, err)
				var got counter
				result, err := connector.Sync(t.Context(), SyncOptions{}, func(ctx context.Context, p Page) error {
					time.Sleep(c.handler)
					return got.handle(ctx, p)
				})
				require.NoError(t, err)
				got.requireOnce(t, c.events*len(regions))

				pages := float64(c.events) / 50
				for i, r := range regions {
					s := r.Stats()
					if i == 0 {
						t.Logf("%.3f of the quota's time, %.3f of the pages, %d throttles (%.1f %%)",
							slowest.Seconds()/(pages/2), float64(s.Requests)/pages, s.Throttled, 100*float64(s.Throttled)/float64(s.Requests))
					}
					require.LessOrEqual(t, s.Throttled, int(c.throttles*float64(s.Requests)))
					if c.requests > 0 {
						require.LessOrEqual(t, float64(s.Requests)/pages, c.requests, "requests")
					}
				}
				require.LessOrEqual(t, slowest.Seconds()/(pages/2), c.time, "time")
				require.LessOrEqual(t, fake.Stats().MaxInFlight, c.parallel)
				for _, p := range result.Partitions {
					require.True(t, p.Complete)
				}
			})
		})
	}
}

// Whatever the history, the latency, the bound and the page size: every event
// once, and never more in flight than allowed.
func TestEveryEventOnce(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 4))
			now := time.Now()
			from, to := now.AddDate(0, 0, -7).Add(time.Minute), now.Add(-time.Minute)
			fake := cloudtrailtest.New()
			roles, regions := many(fake, 1+rng.IntN(3))
			events := 0
			for _, r := range regions {
				n := rng.IntN(5_000)
				history := cloudtrailtest.Uniform(seed, n, from, to)
				if rng.IntN(2) == 0 { // thousands in one second, minutes or hours; gaps between
					var at []time.Time
					for range 1 + rng.IntN(5) {
						at = append(at, from.Add(time.Duration(rng.Int64N(int64(to.Sub(from))-int64(2*time.Hour)))))
					}
					length := []time.Duration{time.Second, time.Minute, time.Hour}[rng.IntN(3)]
					history = cloudtrailtest.Bursts(seed, n, at, length, rng.Float64(), from, to)
				}
				r.SetHistory(small(history))
				extra := rng.IntN(300)
				for i := range extra { // with milliseconds, many at the same one
					r.Add(cloudtrailtest.Event{EventID: fmt.Sprintf("ms-%d", i), EventTime: from.Add(time.Duration(rng.IntN(9)) * 7777777 * time.Millisecond)})
				}
				events += n + extra
				slowest := time.Duration(rng.Int64N(int64(8 * time.Second)))
				latencies := rand.New(rand.NewPCG(seed, 5))
				r.SetLatency(func() time.Duration { return time.Duration(latencies.Int64N(int64(slowest) + 1)) })
			}
			cfg := Config{AssumeRoleARN: roles, DefaultRegion: "us-east-1", ParallelRequests: 1 + rng.IntN(32), PageSize: 1 + rng.IntN(60)}
			rate := []float64{2, 1.5, 20}[rng.IntN(3)]
			for _, r := range regions {
				r.SetQuota(cloudtrailtest.Quota{Rate: rate})
			}
			c, err := New(t.Context(), cfg, WithAWSConfig(fake.AWSConfig("us-east-1")), WithLookupRate(rate))
			require.NoError(t, err)
			var got counter
			result, err := c.Sync(t.Context(), SyncOptions{}, got.handle)
			require.NoError(t, err)
			got.requireOnce(t, events)
			require.Equal(t, events, result.Records)
			require.LessOrEqual(t, fake.Stats().MaxInFlight, cfg.ParallelRequests)
			require.Zero(t, fake.Stats().Throttled)
		})
	}
}
