package cloudtrailtest_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// pace sends n requests with that gap and returns how many were throttled.
func pace(t *testing.T, q cloudtrailtest.Quota, n int, gap time.Duration) (throttled int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f, r := home()
		r.SetQuota(q)
		r.SetLatency(func() time.Duration { return 0 })
		c := client(f.AWSConfig(region))
		for range n {
			if _, err := c.LookupEvents(t.Context(), nil); err != nil {
				require.Equal(t, "ThrottlingException", code(err))
				throttled++
			}
			time.Sleep(gap)
		}
		assert.Equal(t, throttled, r.Stats().Throttled)
		assert.Equal(t, n, r.Stats().Requests)
	})
	return throttled
}

func TestQuota(t *testing.T) {
	half := time.Second / 2
	for name, test := range map[string]struct {
		quota     cloudtrailtest.Quota
		n         int
		gap       time.Duration
		low, high int // throttled
	}{
		"default, at the rate":         {cloudtrailtest.Quota{}, 1000, half, 0, 0},
		"default, burst":               {cloudtrailtest.Quota{}, 10, 0, 8, 8},
		"default, twice the rate":      {cloudtrailtest.Quota{}, 1000, half / 2, 498, 499},
		"none":                         {cloudtrailtest.Quota{Rate: math.Inf(1)}, 1000, 0, 0, 0},
		"10 a second":                  {cloudtrailtest.Quota{Rate: 10}, 1000, 100 * time.Millisecond, 0, 0},
		"10 a second, burst":           {cloudtrailtest.Quota{Rate: 10}, 12, 0, 2, 2},
		"burst of its own":             {cloudtrailtest.Quota{Burst: 5}, 10, 0, 5, 5},
		"window, at the rate":          {cloudtrailtest.Quota{Window: true}, 1000, half, 0, 0},
		"window, burst":                {cloudtrailtest.Quota{Window: true}, 10, 0, 8, 8},
		"window, jitter":               {cloudtrailtest.Quota{Window: true, Jitter: 20 * time.Millisecond}, 1000, half, 100, 400},
		"window, jitter, slower":       {cloudtrailtest.Quota{Window: true, Jitter: 20 * time.Millisecond}, 1000, time.Second * 100 / 195, 0, 0},
		"bucket, jitter":               {cloudtrailtest.Quota{Jitter: 20 * time.Millisecond}, 1000, half, 0, 20},
		"half eaten, at the rate":      {cloudtrailtest.Quota{Others: 1}, 1000, half, 450, 550},
		"half eaten, at what is left":  {cloudtrailtest.Quota{Others: 1}, 1000, time.Second, 0, 5},
		"all eaten":                    {cloudtrailtest.Quota{Others: 4}, 1000, half, 1000, 1000},
		"window, half eaten":           {cloudtrailtest.Quota{Window: true, Others: 1}, 1000, half, 300, 700},
		"window, nobody for two hours": {cloudtrailtest.Quota{Window: true, Others: 1}, 3, 2 * time.Hour, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := pace(t, test.quota, test.n, test.gap)
			assert.True(t, test.low <= got && got <= test.high, "%d throttled, want %d to %d", got, test.low, test.high)
		})
	}
}

// Throttled requests use no quota: whoever hammers still gets all of it.
func TestThrottledRequestsUseNoQuota(t *testing.T) {
	got := pace(t, cloudtrailtest.Quota{}, 2_000, 10*time.Millisecond)
	assert.InDelta(t, 2_000-2*20-1, got, 2)
	got = pace(t, cloudtrailtest.Quota{Window: true}, 2_000, 10*time.Millisecond)
	assert.InDelta(t, 2_000-2*20, got, 2)
}

// Each account and Region has a quota of its own.
func TestQuotasAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := home()
		f.Account("444455556666").AddKey("AKIAOTHER", "secret")
		for range 2 {
			for _, name := range []string{"us-east-1", "us-west-2"} {
				_, err := client(f.AWSConfig(name)).LookupEvents(t.Context(), nil)
				assert.NoError(t, err)
				_, err = client(withKey(f.AWSConfig(name), "AKIAOTHER", "secret", "")).LookupEvents(t.Context(), nil)
				assert.NoError(t, err)
			}
		}
		_, err := client(f.AWSConfig("us-west-2")).LookupEvents(t.Context(), nil)
		assert.Equal(t, "ThrottlingException", code(err))
	})
}

func TestThrottledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := home()
		r.SetLatency(func() time.Duration { return time.Minute })
		f.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
			if c.N <= 100 {
				return cloudtrailtest.Throttling()
			}
			return nil
		})
		start := time.Now()
		for range 100 { // and they use nothing either
			_, err := client(f.AWSConfig(region)).LookupEvents(t.Context(), nil)
			require.Equal(t, "ThrottlingException", code(err))
		}
		assert.Zero(t, time.Since(start))
		_, err := client(f.AWSConfig(region)).LookupEvents(t.Context(), nil)
		assert.NoError(t, err)
		assert.Equal(t, time.Minute, time.Since(start))
	})
}
