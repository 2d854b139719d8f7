package cloudtrail

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// 16 partitions with 100,000 events, a fault at every fifth request, STS's too,
// and sessions that end after a few minutes, earlier than they say: every event
// comes, and comes once.
func TestChaos(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const partitions, each = 16, 6250
		rng := rand.New(rand.NewPCG(1, 19))
		fake := cloudtrailtest.New()
		kinds := []func() *cloudtrailtest.Fault{
			cloudtrailtest.Throttling, status(500), status(502), status(503), status(504), status(429), apiFault(400, "ServiceUnavailable"),
			cloudtrailtest.Reset, cloudtrailtest.Cut, cloudtrailtest.Garbage, cloudtrailtest.EmptyBody, cloudtrailtest.Silence,
			cloudtrailtest.StaleToken, cloudtrailtest.EmptyPage, cloudtrailtest.RepeatLast,
			func() *cloudtrailtest.Fault { return cloudtrailtest.Slow(40 * time.Second) },
		}
		faults, calls := 0, 0
		fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
			if calls++; rng.IntN(5) > 0 {
				return nil
			}
			fault := kinds[rng.IntN(len(kinds))]
			if c.Service == "sts" || c.Input.NextToken == "" { // has no token to be refused
				fault = kinds[rng.IntN(12)]
			}
			faults++
			return fault()
		})
		cfg := Config{ParallelRequests: 8, SessionDuration: time.Hour}
		for i := range partitions {
			a := fake.Account("6000000000" + string(rune('0'+i/10)) + string(rune('0'+i%10)))
			cfg.AssumeRoleARN += a.AddRole(cloudtrailtest.Role{Name: "reader", Lifetime: 4 * time.Minute}) + ","
			h := week(each)
			if i%4 == 0 {
				h = bursts(each, 20)
			}
			latencies := rand.New(rand.NewPCG(uint64(i), 20))
			a.Region("us-east-1").SetHistory(h)
			a.Region("us-east-1").SetLatency(func() time.Duration { return time.Duration(latencies.Int64N(int64(3 * time.Second))) })
		}
		cfg.AssumeRoleARN = cfg.AssumeRoleARN[:len(cfg.AssumeRoleARN)-1]
		var got counter
		start := time.Now()
		res, err := connect(t, fake, cfg).Sync(t.Context(), SyncOptions{}, func(ctx context.Context, p Page) error { return got.handle(ctx, p) })
		require.NoError(t, err)
		got.requireOnce(t, partitions*each)
		for _, p := range res.Partitions {
			require.True(t, p.Complete)
		}
		t.Logf("%d events in %s with %d calls, %d of them faults; %d sessions", res.Records, time.Since(start).Round(time.Second), calls, faults, fake.Stats().STS["AssumeRole"])
		require.GreaterOrEqual(t, float64(faults), 0.18*float64(calls))
		require.Greater(t, fake.Stats().STS["AssumeRole"], 3*partitions, "sessions were renewed")
		require.LessOrEqual(t, fake.Stats().MaxInFlight, 8)
	})
}
