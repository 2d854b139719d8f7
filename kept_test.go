package cloudtrail

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// A partition that was skipped, not asked for or no longer configured keeps what
// the token said of it, and so do workers' tokens, which are merged.
func TestOthersKeepTheirPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		regions := []string{"us-east-1", "eu-west-1", "ap-south-1", "af-south-1"}
		account := fake.Account(cloudtrailtest.AccountID)
		account.Region("af-south-1").SetEnabled(true)
		var want []string
		now := time.Now()
		for i, r := range regions {
			h := small(cloudtrailtest.Uniform(uint64(i), 700, now.Add(-100*time.Hour), now.Add(20*time.Hour)))
			account.Region(r).SetHistory(h)
			want = append(want, ids("111122223333/"+r, h, nil)...)
		}
		c := connect(t, fake, Config{Regions: regions})
		var got counter
		res, err := c.Sync(t.Context(), SyncOptions{}, got.handle)
		require.NoError(t, err)
		first := res.Token.state()

		time.Sleep(10 * time.Hour)
		parts, err := c.Partitions(t.Context())
		require.NoError(t, err)
		var tokens []SyncToken
		for _, share := range [][]Partition{parts[:1], parts[1:3]} { // nobody reads the last
			part, err := c.Sync(t.Context(), SyncOptions{Since: res.Token, Partitions: share}, got.handle)
			require.NoError(t, err)
			require.Len(t, part.Partitions, len(share))
			tokens = append(tokens, again(t, part.Token))
		}
		merged := MergeTokens(tokens...)
		require.Equal(t, merged, MergeTokens(tokens[1], res.Token, tokens[0]))
		for i, p := range parts {
			k := tokenKey{p.AccountID, p.Region}
			if i == 3 {
				require.Equal(t, first.owed[k], merged.state().owed[k])
				continue
			}
			require.GreaterOrEqual(t, merged.state().owed[k].through.Sub(first.owed[k].through), 10*time.Hour)
		}

		time.Sleep(11 * time.Hour)
		account.Region("af-south-1").SetEnabled(false)
		all := connect(t, fake, Config{Regions: []string{"all"}})
		res, err = all.Sync(t.Context(), SyncOptions{Since: merged}, got.handle)
		require.NoError(t, err)
		skipped := 0
		for _, p := range res.Partitions {
			if p.Skipped != "" {
				require.False(t, p.Complete)
				skipped++
			}
		}
		require.Equal(t, 17, skipped, "those that are to be enabled first")
		k := tokenKey{cloudtrailtest.AccountID, "af-south-1"}
		require.Equal(t, first.owed[k], res.Token.state().owed[k])
		require.NotContains(t, res.Token.state().owed, tokenKey{cloudtrailtest.AccountID, "eu-south-1"})

		account.Region("af-south-1").SetEnabled(true)
		_, err = connect(t, fake, Config{Regions: regions[3:]}).Sync(t.Context(), SyncOptions{Since: res.Token}, got.handle)
		require.NoError(t, err)
		got.requireSeen(t, want)
	})
}

// STS out of reach in one sync and not in the next, either way round: no window
// is read twice.
func TestAccountThatIsSometimesKnown(t *testing.T) {
	for _, first := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			fake := cloudtrailtest.New()
			fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetHistory(week(40))
			known := first
			requests := record(fake, func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
				if c.Action == "GetCallerIdentity" && !known {
					return cloudtrailtest.Reset()
				}
				return nil
			})
			var token SyncToken
			for i := range 4 {
				res, err := connect(t, fake, Config{}).Sync(t.Context(), SyncOptions{Since: again(t, token)}, discard)
				require.NoError(t, err)
				require.Equal(t, known, res.Partitions[0].Partition.AccountID != "")
				spans := asked(requests.take())
				require.Len(t, spans, 1)
				if i > 0 {
					require.Equal(t, 75*time.Minute, spans[0][1].Sub(spans[0][0]))
				}
				token, known = res.Token, !known
				require.Len(t, token.state().owed, 1)
				time.Sleep(time.Hour)
			}
		})
	}
}

// A page's token, too, leaves out a Region that turned out not to be enabled.
func TestPageTokenLeavesOutSkippedRegions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
		region.SetHistory(week(300))
		region.SetLatency(always(time.Second))
		var last SyncToken
		res, err := connect(t, fake, Config{Regions: []string{"all"}, ParallelRequests: 64}).Sync(t.Context(), SyncOptions{}, func(_ context.Context, p Page) error {
			last = p.Token()
			return nil
		})
		require.NoError(t, err)
		skipped := tokenKey{cloudtrailtest.AccountID, "eu-south-1"}
		for _, token := range []SyncToken{res.Token, last} {
			_, known := token.state().owed[skipped]
			require.False(t, known)
		}
	})
}
