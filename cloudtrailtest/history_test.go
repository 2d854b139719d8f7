package cloudtrailtest_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

func TestGeneratedHistories(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 500, time.UTC)
	to := from.Add(7 * 24 * time.Hour)
	day := func(d float64) time.Time { return from.Add(time.Duration(d * 24 * float64(time.Hour))) }
	for name, h := range map[string]cloudtrailtest.History{
		"uniform":            cloudtrailtest.Uniform(1, 20_000, from, to),
		"one second":         cloudtrailtest.Uniform(1, 1000, from.Truncate(time.Second), from.Truncate(time.Second)),
		"one event":          cloudtrailtest.Uniform(1, 1, from, to),
		"none":               cloudtrailtest.Uniform(1, 0, from, to),
		"bursts":             cloudtrailtest.Bursts(1, 20_000, []time.Time{day(1), day(3.5), day(6)}, time.Hour, 0.9, from, to),
		"bursts only":        cloudtrailtest.Bursts(1, 20_000, []time.Time{day(1), day(3.5)}, time.Second, 1, from, to),
		"bursts overlap":     cloudtrailtest.Bursts(1, 20_000, []time.Time{day(1), day(1).Add(time.Minute)}, time.Hour, 0.5, from, to),
		"bursts at the ends": cloudtrailtest.Bursts(1, 20_000, []time.Time{from, to}, time.Hour, 0.5, from, to),
		"bursts outside":     cloudtrailtest.Bursts(1, 20_000, []time.Time{day(-1), day(9)}, time.Hour, 0.5, from, to),
	} {
		t.Run(name, func(t *testing.T) {
			ids := map[string]bool{}
			for i := range h.Len() {
				at := h.Time(i)
				require.True(t, !at.Before(from.Truncate(time.Second)) && !at.After(to), "event %d at %s", i, at)
				require.Zero(t, at.Nanosecond())
				if i > 0 {
					require.False(t, at.After(h.Time(i-1)), "event %d is newer than the one before", i)
				}
				ids[cloudtrailtest.EventID(1, i)] = true
			}
			assert.Len(t, ids, h.Len())
		})
	}
}

// within counts the events of [from, from+length).
func within(h cloudtrailtest.History, from time.Time, length time.Duration) (n int) {
	for i := range h.Len() {
		if at := h.Time(i); !at.Before(from) && at.Before(from.Add(length)) {
			n++
		}
	}
	return n
}

func TestDensity(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	to := from.Add(10 * 24 * time.Hour)
	h := cloudtrailtest.Uniform(7, 10_000, from, to)
	for d := range 10 {
		assert.InDelta(t, 1000, within(h, from.Add(time.Duration(d)*24*time.Hour), 24*time.Hour), 3)
	}
	bursts := []time.Time{from.Add(24 * time.Hour), from.Add(90 * time.Hour)}
	h = cloudtrailtest.Bursts(7, 10_000, bursts, time.Second, 0.9, from, to)
	for _, b := range bursts {
		assert.InDelta(t, 4500, within(h, b, time.Second), 2)
	}
	assert.InDelta(t, 1000, 10_000-within(h, bursts[0], time.Second)-within(h, bursts[1], time.Second), 4)
}

func TestGeneratedEvents(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	h := cloudtrailtest.Uniform(3, 1000, from, from.Add(time.Hour))
	other := cloudtrailtest.Uniform(4, 1000, from, from.Add(time.Hour))
	names, small := map[string]bool{}, cloudtrailtest.WithEventSize(h, 400)
	for i := range h.Len() {
		e := h.Event(i)
		require.Equal(t, e, h.Event(i))
		require.Equal(t, h.Time(i), e.EventTime)
		require.Equal(t, cloudtrailtest.EventID(3, i), e.EventID)
		require.NotEqual(t, e.EventID, other.Event(i).EventID)
		require.InDelta(t, cloudtrailtest.DefaultEventSize, len(e.CloudTrailEvent), 200)
		var record struct {
			EventID, EventName string
			ReadOnly           bool
		}
		require.NoError(t, json.Unmarshal([]byte(e.CloudTrailEvent), &record))
		require.Equal(t, e.EventID, record.EventID)
		require.Equal(t, e.ReadOnly == "true", record.ReadOnly)
		names[record.EventName] = true

		s := small.Event(i)
		require.InDelta(t, 400, len(s.CloudTrailEvent), 100)
		require.True(t, json.Valid([]byte(s.CloudTrailEvent)))
		s.CloudTrailEvent = e.CloudTrailEvent
		require.Equal(t, e, s)
	}
	assert.Len(t, names, 10)
	assert.Empty(t, cloudtrailtest.WithEventSize(h, 0).Event(0).CloudTrailEvent)
}

// A page in the middle of fifty million events is made without the others.
func TestHugeHistory(t *testing.T) {
	f, r := home()
	now := time.Now()
	r.SetHistory(cloudtrailtest.Uniform(1, 50_000_000, now.Add(-80*24*time.Hour), now))
	allocs := testing.AllocsPerRun(1, func() {
		_, err := client(f.AWSConfig(region)).LookupEvents(t.Context(), &nothing)
		require.NoError(t, err)
	})
	assert.Less(t, allocs, 20_000.0)
}
