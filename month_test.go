package cloudtrail

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// office is a history with quiet nights: nearly all of its n events fall into
// nine hours of each day.
func office(seed uint64, n int, from, to time.Time) cloudtrailtest.History {
	var mornings []time.Time
	for at := from.Truncate(day).Add(8 * time.Hour); at.Before(to); at = at.Add(day) {
		mornings = append(mornings, at)
	}
	return small(cloudtrailtest.Bursts(seed, n, mornings, 9*time.Hour, 0.9, from, to))
}

// A month of hourly syncs over growing histories, each from the token of the
// one before. Requests fail at random; a Region is added in week two, one is
// removed in week three. Nothing is lost, and reading it takes within 10 % of
// the least requests: one for each partition and sync, or its events over 50.
func TestMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const month = 30 * day
		rng, faults := rand.New(rand.NewPCG(1, 17)), rand.New(rand.NewPCG(1, 18))
		start := time.Now()
		fake := cloudtrailtest.New()
		partitions := map[string]struct {
			events   int // from a week before to the end
			from, to time.Duration
			history  cloudtrailtest.History
		}{
			"us-east-1":  {events: 20_000, to: month},
			"eu-west-1":  {events: 2_000, to: month},
			"ap-south-1": {events: 300, from: 9 * day, to: month}, // added
			"us-west-2":  {events: 6_000, to: 17 * day},           // removed
			"sa-east-1":  {events: 0, to: month},
		}
		for i, region := range []string{"us-east-1", "eu-west-1", "ap-south-1", "us-west-2", "sa-east-1"} {
			p := partitions[region]
			p.history = office(uint64(i), p.events, start.AddDate(0, 0, -7), start.Add(month))
			partitions[region] = p
			r := fake.Account(cloudtrailtest.AccountID).Region(region)
			r.SetHistory(p.history)
			latencies := rand.New(rand.NewPCG(uint64(i), 21))
			r.SetLatency(func() time.Duration { return time.Duration(latencies.Int64N(int64(2 * time.Second))) })
			r.SetDelay(func(e cloudtrailtest.Event) time.Duration { return time.Duration(e.EventID[0]) * 7 * time.Second }) // 11 minutes at most
		}
		kinds := []func() *cloudtrailtest.Fault{cloudtrailtest.Reset, cloudtrailtest.Cut, cloudtrailtest.EmptyBody, status(503), cloudtrailtest.Garbage, cloudtrailtest.Throttling}
		down, errors, failed := "", 0, 0
		fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
			if c.Service != "cloudtrail" {
				return nil
			}
			if c.Region == down || faults.IntN(50) == 0 {
				errors++
				return kinds[faults.IntN(len(kinds))]()
			}
			return nil
		})

		var got counter
		var token SyncToken
		requests, minimum := 0, 0
		for hour := range 30 * 24 {
			at := time.Duration(hour) * time.Hour
			time.Sleep(at - time.Since(start) + time.Duration(rng.IntN(60))*time.Second)
			var regions []string
			for region, p := range partitions {
				if at >= p.from && at < p.to {
					regions = append(regions, region)
				}
			}
			slices.Sort(regions)
			down = ""
			if rng.IntN(100) == 0 { // for this sync, so that it stays in debt
				down = regions[rng.IntN(len(regions))]
			}
			res, err := connect(t, fake, Config{Regions: regions, MaxRetries: 5}).Sync(t.Context(), SyncOptions{Since: again(t, token)}, func(ctx context.Context, p Page) error {
				token = p.Token() // a host that stores it with every page
				return got.handle(ctx, p)
			})
			if err != nil {
				require.NotEmpty(t, down)
				failed++
			}
			for _, p := range res.Partitions {
				if p.Partition.Region == down {
					require.Error(t, p.Err)
					continue // nothing could be read of it
				}
				require.NoError(t, p.Err)
				requests += p.Requests
				minimum += max(1, (p.Records+49)/50)
			}
			token = res.Token
		}
		for region, p := range partitions {
			within := func(at time.Time) bool {
				return at.After(start.Add(p.from).AddDate(0, 0, -7)) && at.Before(start.Add(p.to-time.Hour-15*time.Minute))
			}
			got.requireSeen(t, ids("111122223333/"+region, p.history, within))
		}
		t.Logf("%d requests, where %d are the least: %+.1f %%; %d faults, %d failed partitions",
			requests, minimum, 100*(float64(requests)/float64(minimum)-1), errors, failed)
		require.LessOrEqual(t, float64(requests), 1.1*float64(minimum))
		require.GreaterOrEqual(t, failed, 3)
	})
}
