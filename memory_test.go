//go:build unix

package cloudtrail

import (
	"context"
	"flag"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var memoryEvents = flag.Int("events", 20_000, "how many events TestFlatMemory reads")

// memory is what the runtime says of the heap.
type memory struct{ runtime.MemStats }

func (m *memory) read() { runtime.ReadMemStats(&m.MemStats) }

// live is what a collection leaves, and the one after it of the pools.
func (m *memory) live() float64 {
	runtime.GC()
	runtime.GC()
	m.read()
	return float64(m.HeapAlloc) / (1 << 20)
}

// The live heap neither grows with the events nor with the handler's slowness:
// a slow one finds a queue that is full, always.
func TestFlatMemory(t *testing.T) {
	for name, pause := range map[string]time.Duration{"fast handler": 0, "slow handler": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := newCanned(t).awsConfig()
				c, err := New(t.Context(), Config{}, WithAWSConfig(cfg), WithLookupRate(math.Inf(1)), WithRawEvents())
				require.NoError(t, err)
				var m memory
				before := m.live()
				events, halves, rest := 0, [2]float64{}, [2]float64{}
				pages, every := 0, max(10, *memoryEvents/maxPageSize/100)
				window := time.Duration(*memoryEvents) * time.Second
				result, err := c.Sync(t.Context(), SyncOptions{LookbackDays: window.Hours() / 24}, func(_ context.Context, p Page) error {
					time.Sleep(pause)
					if pages++; pages%every == 0 {
						half := min(1, 2*events / *memoryEvents)
						halves[half] = max(halves[half], m.live()-before)
						synctest.Wait() // what is being decoded just now is chance, and no growth
						rest[half] = max(rest[half], m.live()-before)
					}
					events += len(p.Records)
					return nil
				})
				require.NoError(t, err)
				require.InDelta(t, *memoryEvents, result.Records, 1)
				t.Logf("%d events: at most %.1f MiB above the start in the first half, %.1f MiB in the second", events, halves[0], halves[1])
				require.Positive(t, rest[0])
				require.Less(t, halves[0], 32.0)
				require.Less(t, halves[1], 32.0)
				require.Less(t, rest[1]-rest[0], 1.0, "grows with the events")
			})
		})
	}
}
