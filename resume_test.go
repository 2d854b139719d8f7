package cloudtrail

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// crashes is three partitions, with bursts and splits, to be interrupted.
func crashes(t testing.TB, events int) (c *Connector, fake *cloudtrailtest.Fake, want []string) {
	fake = cloudtrailtest.New()
	roles := ""
	for i, account := range []string{cloudtrailtest.AccountID, accountB, accountC} {
		roles += fake.Account(account).AddRole(cloudtrailtest.Role{Name: "reader"}) + ","
		region, in := awkward(fake, account, events*(i+1))
		region.SetLatency(always(time.Duration(i) * 2 * time.Second))
		want = append(want, in...)
	}
	return connect(t, fake, Config{AssumeRoleARN: roles[:len(roles)-1]}), fake, want
}

// twice checks that what came again lies at a page's oldest instant, where more
// may follow, or in the 15 minutes that are always read again.
type twice struct {
	edges   map[string]bool
	recent  time.Time
	records map[string]CloudResource
}

func (w *twice) add(t testing.TB, p Page, again bool) {
	if w.edges == nil {
		w.edges, w.records = map[string]bool{}, map[string]CloudResource{}
	}
	for _, r := range p.Records {
		id := p.Partition.String() + "/" + r.EventID
		if _, ok := w.records[id]; ok {
			require.True(t, again, "%s came twice in one sync", id)
			edge := w.edges[p.Partition.String()+r.EventTime.String()]
			require.True(t, edge || !r.EventTime.Before(w.recent), "%s at %s came again", id, r.EventTime)
		}
		w.records[id] = r
	}
	if !again {
		oldest := slices.MinFunc(p.Records, func(a, b CloudResource) int { return a.EventTime.Compare(b.EventTime) })
		w.edges[p.Partition.String()+oldest.EventTime.String()] = true
	}
}

// Killed after any page, the process goes on from the token of the last page
// that it stored, and misses nothing. Or the handler fails with that page, and
// the result's token leaves it out.
func TestStopAtEveryPage(t *testing.T) {
	for _, handlerFails := range []bool{false, true} {
		pages := 1
		for stop := 1; stop <= pages; stop++ {
			synctest.Test(t, func(t *testing.T) {
				c, _, want := crashes(t, 60)
				got := twice{recent: time.Now().Add(-15 * time.Minute)}
				var token SyncToken
				ctx, kill := context.WithCancel(t.Context())
				n := 0
				res, err := c.Sync(ctx, SyncOptions{}, func(_ context.Context, p Page) error {
					if n++; n == stop && handlerFails {
						return errStop
					}
					got.add(t, p, false)
					if token = p.Token(); n == stop {
						kill()
					}
					return nil
				})
				switch {
				case handlerFails:
					require.ErrorIs(t, err, errStop)
					token = res.Token
				case stop < pages: // after the last page nothing may be left to stop
					require.ErrorIs(t, err, context.Canceled)
					require.Equal(t, token, res.Token, "the page that was stored counts")
				}
				require.Equal(t, stop, n)

				time.Sleep(10 * time.Second) // so that the rest is another sync, later
				res, err = c.Sync(t.Context(), SyncOptions{Since: again(t, token)}, func(_ context.Context, p Page) error {
					got.add(t, p, true)
					n++
					return nil
				})
				require.NoError(t, err)
				require.Len(t, got.records, len(want), "of all events, stopped at page %d", stop)
				require.Equal(t, tokenThrough(res.Token), 3)
				if stop == 1 {
					pages = n - 1
				}
			})
		}
		require.Greater(t, pages, 8)
	}
}

// tokenThrough counts the partitions of which a token has no open window.
func tokenThrough(token SyncToken) (n int) {
	for _, o := range token.state().owed {
		if len(o.open) == 0 {
			n++
		}
	}
	return n
}

// Killed again and again, with random pages in between, at a random point
// between storing the records and storing the token too.
func TestCrashAgainAndAgain(t *testing.T) {
	for seed := range uint64(25) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 9))
			c, fake, want := crashes(t, 40+rng.IntN(150))
			faults := rand.New(rand.NewPCG(seed, 11))
			fake.SetFault(func(cloudtrailtest.Call) *cloudtrailtest.Fault {
				if faults.IntN(10) == 0 {
					return cloudtrailtest.Status(500)
				}
				return nil
			})
			got := map[string]bool{}
			var token SyncToken
			most := 4 + rng.IntN(6) // more pages than the events of one instant have, or it stays there
			for run := 0; ; run++ {
				require.Less(t, run, 1000, "it does not come forward")
				ctx, kill := context.WithCancel(t.Context())
				left := 1 + rng.IntN(most)
				_, err := c.Sync(ctx, SyncOptions{Since: again(t, token)}, func(_ context.Context, p Page) error {
					for _, r := range p.Records {
						got[p.Partition.String()+"/"+r.EventID] = true
					}
					if left--; left <= 0 {
						kill()
						if rng.IntN(2) == 0 {
							return nil // the token was not stored any more
						}
					}
					token = p.Token()
					return nil
				})
				kill()
				if err == nil {
					break
				}
				require.ErrorIs(t, err, context.Canceled)
				time.Sleep(time.Duration(rng.IntN(100)) * time.Minute)
			}
			require.Len(t, got, len(want))
		})
	}
}

// One of three partitions fails for good in the middle of its history: the
// others complete, the error names it, and the next sync asks for exactly what
// it still owes, what is new and the 15 minutes that are read twice.
func TestPartialFailure(t *testing.T) {
	for name, fault := range map[string]func() *cloudtrailtest.Fault{
		"denied": apiFault(400, "AccessDeniedException"),
		"down":   status(503),
		"silent": cloudtrailtest.Silence,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				fake := cloudtrailtest.New()
				var regions []string
				var want []string
				for i, region := range []string{"us-east-1", "eu-west-1", "ap-south-1"} {
					now := time.Now()
					h := small(cloudtrailtest.Uniform(uint64(i), 400, now.Add(-100*time.Hour), now.Add(5*time.Hour)))
					fake.Account(cloudtrailtest.AccountID).Region(region).SetHistory(h)
					regions = append(regions, region)
					want = append(want, ids("111122223333/"+region, h, func(at time.Time) bool { return !at.After(now.Add(3 * time.Hour)) })...)
				}
				broken := true
				requests := record(fake, func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
					if c.Service == "cloudtrail" && broken && c.Region == "eu-west-1" && c.N > 3 {
						return fault()
					}
					return nil
				})
				c := connect(t, fake, Config{Regions: regions, MaxRetries: 3})
				var got counter
				oldest := time.Time{}
				first := time.Now()
				res, err := c.Sync(t.Context(), SyncOptions{}, func(ctx context.Context, p Page) error {
					if p.Partition.Region == "eu-west-1" {
						oldest = p.Records[len(p.Records)-1].EventTime
					}
					return got.handle(ctx, p)
				})
				var failed *PartitionError
				require.ErrorAs(t, err, &failed)
				require.Equal(t, "eu-west-1", failed.Partition.Region)
				require.NotEmpty(t, failed.Hint)
				require.ErrorContains(t, err, "111122223333/eu-west-1")
				for i, p := range res.Partitions {
					require.Equal(t, i != 1, p.Complete)
					require.Equal(t, i == 1, p.Err != nil)
				}
				require.Equal(t, 150, res.Partitions[1].Records)
				requests.take()

				broken = false
				time.Sleep(3*time.Hour - time.Since(first))
				second := time.Now()
				res, err = c.Sync(t.Context(), SyncOptions{Since: again(t, res.Token)}, got.handle)
				require.NoError(t, err)
				got.requireSeen(t, want)

				type span struct{ start, end time.Time }
				asked := map[string][]span{}
				for _, r := range requests.take() {
					if r.token == "" {
						asked[r.partition] = append(asked[r.partition], span{r.start.UTC(), r.end.UTC()})
					}
				}
				news := span{first.Add(-15 * time.Minute).UTC(), second.UTC()}
				require.Equal(t, map[string][]span{
					"111122223333/us-east-1":  {news},
					"111122223333/ap-south-1": {news},
					"111122223333/eu-west-1":  {news, {first.AddDate(0, 0, -7).UTC(), oldest}},
				}, asked)
			})
		})
	}
}

// Events that arrive up to 15 minutes late are found by a later sync, whenever
// the syncs run and wherever they stop.
func TestLateEvents(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 10))
			fake := cloudtrailtest.New()
			region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
			start := time.Now()
			h := small(cloudtrailtest.Uniform(seed, 2000, start.Add(-2*time.Hour), start.Add(10*time.Hour)))
			region.SetHistory(h)
			region.SetDelay(func(e cloudtrailtest.Event) time.Duration {
				if e.EventID[0] < '4' {
					return 15 * time.Minute // as late as can be
				}
				n, err := strconv.ParseUint(e.EventID[:6], 16, 32)
				require.NoError(t, err)
				return time.Duration(n%(15*60)) * time.Second
			})
			c := connect(t, fake, Config{})
			var got counter
			var token SyncToken
			for time.Since(start) < 10*time.Hour+15*time.Minute {
				left := 1 + rng.IntN(10)
				res, err := c.Sync(t.Context(), SyncOptions{Since: again(t, token), LookbackDays: 0.1}, func(ctx context.Context, p Page) error {
					if left--; left == 0 {
						return errStop
					}
					return got.handle(ctx, p)
				})
				if err != nil {
					require.ErrorIs(t, err, errStop)
				}
				token = res.Token
				time.Sleep(time.Duration(rng.IntN(120)) * time.Minute) // what the lookback spans, less the overlap
			}
			_, err := c.Sync(t.Context(), SyncOptions{Since: token, LookbackDays: 0.1}, got.handle)
			require.NoError(t, err)
			got.requireSeen(t, ids("111122223333/us-east-1", h, nil))
		})
	}
}

// An event that arrives hours late is out of reach of the token, as the README
// says, and an earlier since finds it.
func TestEventsOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
		happened := time.Now().Add(-time.Minute)
		region.Add(cloudtrailtest.Event{EventID: "late", EventTime: happened})
		region.SetDelay(func(cloudtrailtest.Event) time.Duration { return 3 * time.Hour })
		c := connect(t, fake, Config{})
		var got counter
		var token SyncToken
		for range 4 {
			res, err := c.Sync(t.Context(), SyncOptions{Since: token}, got.handle)
			require.NoError(t, err)
			token = res.Token
			time.Sleep(time.Hour)
		}
		require.Empty(t, got.seen)
		_, err := c.Sync(t.Context(), SyncOptions{Since: SinceTime(happened)}, got.handle)
		require.NoError(t, err)
		got.requireOnce(t, 1)
	})
}
