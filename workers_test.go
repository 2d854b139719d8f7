package cloudtrail

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// Workers share a sync, each with some of the partitions, or by mistake with
// the same ones. Some are killed, some fail. What they leave is merged, in any
// order, and the next round goes on from there: nothing is lost.
func TestWorkersThatAreKilled(t *testing.T) {
	for seed := range uint64(15) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 25))
			c, fake, want := crashes(t, 150)
			faults := rand.New(rand.NewPCG(seed, 26))
			broken := true
			fake.SetFault(func(cloudtrailtest.Call) *cloudtrailtest.Fault {
				if broken && faults.IntN(25) == 0 {
					return apiFault(403, "AccessDeniedException")()
				}
				return nil
			})
			parts, err := c.Partitions(t.Context())
			require.NoError(t, err)
			got := map[string]bool{}
			var mu sync.Mutex
			var token SyncToken
			for round := range 12 {
				broken = round < 8
				shares := make([][]Partition, 3)
				for i, p := range parts {
					shares[(i+round)%len(shares)] = append(shares[(i+round)%len(shares)], p)
					if rng.IntN(3) == 0 { // somebody else believes that it is his
						shares[(i+round+1)%len(shares)] = append(shares[(i+round+1)%len(shares)], p)
					}
				}
				tokens := make([]SyncToken, len(shares))
				var workers sync.WaitGroup
				for i, share := range shares {
					left := 1000
					if broken {
						left = 1 + rng.IntN(12)
					}
					tokens[i] = token
					workers.Go(func() {
						ctx, kill := context.WithCancel(t.Context())
						defer kill()
						res, err := c.Sync(ctx, SyncOptions{Since: again(t, token), Partitions: share}, func(_ context.Context, p Page) error {
							mu.Lock()
							defer mu.Unlock()
							for _, r := range p.Records {
								got[p.Partition.String()+"/"+r.EventID] = true
							}
							tokens[i] = p.Token()
							if left--; left == 0 {
								kill()
							}
							return nil
						})
						if err == nil || left > 0 {
							tokens[i] = res.Token // it wasn't killed
						}
					})
				}
				workers.Wait()
				token = MergeTokens(tokens[2], tokens[0], tokens[1])
				require.Equal(t, token, MergeTokens(tokens...))
				time.Sleep(time.Duration(rng.IntN(90)) * time.Minute)
			}
			require.Len(t, got, len(want))
			require.Equal(t, len(parts), tokenThrough(token), "nothing is owed any more")
		})
	}
}
