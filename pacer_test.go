package cloudtrail

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPacer(t *testing.T) {
	gap := func(p *pacer, now time.Time) time.Duration {
		require.Zero(t, p.take(now))
		return p.take(now)
	}
	p, now := newPacer(2), epoch
	require.Equal(t, 500*time.Millisecond, gap(p, now))

	p.throttled(now, now.Add(time.Second))
	now = now.Add(2 * time.Second)
	strict := gap(p, now)
	require.InDelta(t, 500/strictShare, float64(strict.Milliseconds()), 1, "a strict server")
	p.throttled(now.Add(-2*time.Second), now)
	require.Equal(t, strict, gap(p, now.Add(time.Second)), "an attempt from before the slowdown says nothing")
	now = now.Add(2 * time.Second)
	p.throttled(now, now)
	require.InDelta(t, 500/strictShare/slowdown, float64(gap(p, now).Milliseconds()), 1, "somebody else uses the quota")
	for range 1000 {
		p.succeeded()
	}
	now = now.Add(time.Minute)
	require.Equal(t, strict, gap(p, now), "recovered, as far as this server allows")

	now = now.Add(time.Hour)
	require.Zero(t, p.take(now))
	for range 1000 {
		p.succeeded()
	}
	require.Equal(t, 500*time.Millisecond, gap(p, now.Add(time.Minute)), "another sync, another try")

	for range 1000 {
		p.throttled(now.Add(time.Hour), now.Add(time.Hour))
	}
	require.Equal(t, time.Duration(500*float64(time.Millisecond)/leastShare), gap(p, now.Add(time.Hour)))
}
