package cloudtrail

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// oddPages are answers that are neither errors nor what was asked for.
var oddPages = map[string]func() *cloudtrailtest.Fault{
	"stale token":  cloudtrailtest.StaleToken,
	"repeat token": cloudtrailtest.RepeatToken,
	"empty page":   cloudtrailtest.EmptyPage,
	"repeat last":  cloudtrailtest.RepeatLast,
}

// awkward is a history with many events in one second and in one millisecond.
func awkward(fake *cloudtrailtest.Fake, account string, n int) (*cloudtrailtest.Region, []string) {
	now := time.Now()
	from := now.AddDate(0, 0, -6)
	r := fake.Account(account).Region("us-east-1")
	h := small(cloudtrailtest.Bursts(7, n, []time.Time{from.Add(30 * time.Hour), from.Add(70 * time.Hour)}, time.Second, 0.3, from, now.Add(-time.Hour)))
	r.SetHistory(h)
	want := ids(account+"/us-east-1", h, nil)
	for i := range n / 5 {
		id := "ms-" + strconv.Itoa(i)
		r.Add(cloudtrailtest.Event{EventID: id, EventTime: from.Add(time.Duration(1+i/40) * 9_876_543 * time.Millisecond)})
		want = append(want, account+"/us-east-1/"+id)
	}
	return r, want
}

// Stale, repeated and rejected tokens, empty pages with a token, events on two
// pages: one kind, or any of them, at every second or third request, in a
// partition that is split and in one that isn't. Together they leave out
// repeated tokens: a page that comes again and then begins with an event of the
// page before it shows that event two pages later.
func TestOddPages(t *testing.T) {
	together := []string{"stale token", "empty page", "repeat last"}
	for _, name := range append(slices.Sorted(maps.Keys(oddPages)), "any") {
		for _, every := range []int{2, 3} {
			for _, latency := range []time.Duration{0, 3 * time.Second} {
				t.Run(fmt.Sprint(name, " every ", every, " at ", latency), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						rng := rand.New(rand.NewPCG(uint64(every), uint64(latency)))
						fake := cloudtrailtest.New()
						region, want := awkward(fake, cloudtrailtest.AccountID, 1000)
						region.SetLatency(always(latency))
						odd := 0
						fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
							if c.Input.NextToken == "" || rng.IntN(every) > 0 {
								return nil
							}
							odd++
							return oddPages[cmp.Or(map[string]string{"any": together[rng.IntN(len(together))]}[name], name)]()
						})
						var got counter
						res, err := connect(t, fake, Config{ParallelRequests: 3}).Sync(t.Context(), SyncOptions{}, func(ctx context.Context, p Page) error {
							require.NotEmpty(t, p.Records)
							return got.handle(ctx, p)
						})
						require.NoError(t, err)
						got.requireOnce(t, len(want))
						require.True(t, res.Partitions[0].Complete)
						require.Positive(t, odd)
					})
				})
			}
		}
	}
}

// NextTokens that are always refused: the walk goes on as long as replays bring
// something new, and ends after MaxRetries that didn't.
func TestTokensThatAreNeverAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		history := week(500)
		region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
		region.SetHistory(history)
		requests := record(fake, func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
			if c.Input.NextToken != "" {
				return cloudtrailtest.StaleToken()
			}
			return nil
		})
		c := connect(t, fake, Config{MaxRetries: 4})
		var got counter
		_, err := c.Sync(t.Context(), SyncOptions{}, got.handle)
		require.NoError(t, err)
		got.requireOnce(t, 500)
		requests.take()

		// 200 events at one instant are out of reach of the first page.
		at := time.Now().Add(-100 * time.Hour).Truncate(time.Second)
		for i := range 200 {
			region.Add(cloudtrailtest.Event{EventID: "same-" + strconv.Itoa(i), EventTime: at})
		}
		got = counter{}
		res, err := c.Sync(t.Context(), SyncOptions{}, got.handle)
		require.ErrorContains(t, err, "InvalidNextToken")
		require.False(t, res.Partitions[0].Complete)
		barren := 0 // first requests of the last replays
		made := requests.take()
		for _, r := range made {
			if r.end.Equal(made[len(made)-1].end) && r.token == "" {
				barren++
			}
		}
		require.LessOrEqual(t, barren, 4+1)

		fake.SetFault(nil)
		_, err = c.Sync(t.Context(), SyncOptions{Since: again(t, res.Token)}, got.handle)
		require.NoError(t, err)
		got.requireSeen(t, ids("111122223333/us-east-1", history, nil))
		require.Len(t, got.seen, 700)
	})
}

// A stub whose tokens lead in a circle of empty pages is left, not followed for
// ever.
func TestTokensInACircle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{lookup: func(in *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
			next := map[string]string{"": "a", "a": "b", "b": "c", "c": "a"}[aws.ToString(in.NextToken)]
			return &awscloudtrail.LookupEventsOutput{NextToken: &next}, nil
		}}
		c, err := New(t.Context(), Config{DefaultRegion: "us-east-1", MaxRetries: 3}, WithClient(func(Partition) LookupEventsAPIClient { return s }))
		require.NoError(t, err)
		res, err := c.Sync(t.Context(), SyncOptions{}, discard)
		require.ErrorContains(t, err, "NextTokens lead")
		require.Zero(t, res.Pages)
		require.Less(t, s.requests.Load(), int64(50))
	})
}

// A stub whose tokens live for three seconds, and which forgets one in ten.
func TestShortLivedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 8))
		srv := service{randomHistory(rng, 800, 5*24*3600), 50}
		shift := time.Now().Add(-6 * 24 * time.Hour).Truncate(time.Second).Sub(epoch)
		for i := range srv.events {
			srv.events[i].EventTime = srv.events[i].EventTime.Add(shift)
		}
		s := &stub{}
		s.lookup = func(in *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
			stale := &smithy.GenericAPIError{Code: "InvalidNextTokenException"}
			w := &walk{from: *in.StartTime, to: *in.EndTime}
			var issued int64
			if in.NextToken != nil {
				_, err := fmt.Sscanf(*in.NextToken, "%d %s", &issued, &w.nextToken)
				require.NoError(t, err)
				if time.Since(time.UnixMilli(issued)) > 3*time.Second || s.requests.Load()%10 == 0 {
					return nil, stale
				}
			}
			events, next := srv.page(w)
			out := &awscloudtrail.LookupEventsOutput{}
			for _, e := range events {
				out.Events = append(out.Events, types.Event{EventId: aws.String(e.EventID), EventTime: aws.Time(e.EventTime)})
			}
			if next != "" {
				out.NextToken = aws.String(fmt.Sprint(time.Now().UnixMilli(), " ", next))
			}
			return out, nil
		}
		c, err := New(t.Context(), Config{DefaultRegion: "us-east-1", ParallelRequests: 2}, WithLookupRate(1),
			WithClient(func(Partition) LookupEventsAPIClient { return s }))
		require.NoError(t, err)
		var got counter
		_, err = c.Sync(t.Context(), SyncOptions{}, got.handle)
		require.NoError(t, err)
		got.requireOnce(t, 800)
	})
}

// Pages that overlap by ten events, with an empty one in between now and then:
// what the last page that had events showed is recognised.
func TestOverlappingPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, size, overlap = 500, 50, 10
		s := &stub{lookup: func(in *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
			first, empty := 0, 0
			if in.NextToken != nil {
				_, err := fmt.Sscan(*in.NextToken, &first, &empty)
				require.NoError(t, err)
			}
			if empty > 0 {
				return &awscloudtrail.LookupEventsOutput{NextToken: aws.String(fmt.Sprint(first, 0))}, nil
			}
			out := &awscloudtrail.LookupEventsOutput{}
			for i := first; i < min(first+size, n); i++ {
				at := time.Now().Truncate(day).Add(-time.Duration(i+1) * time.Minute)
				out.Events = append(out.Events, types.Event{EventId: aws.String(strconv.Itoa(i)), EventTime: &at})
			}
			if first+size < n {
				out.NextToken = aws.String(fmt.Sprint(first+size-overlap, first/size%2))
			}
			return out, nil
		}}
		c, err := New(t.Context(), Config{DefaultRegion: "us-east-1", ParallelRequests: 1}, WithClient(func(Partition) LookupEventsAPIClient { return s }))
		require.NoError(t, err)
		var got counter
		_, err = c.Sync(t.Context(), SyncOptions{}, got.handle)
		require.NoError(t, err)
		got.requireOnce(t, n)
	})
}

// truncating is a client whose times are a millisecond early where they have a
// fraction, as the SDK's decoding by float64 can make them.
type truncating struct{ LookupEventsAPIClient }

func (c truncating) LookupEvents(ctx context.Context, in *awscloudtrail.LookupEventsInput, opts ...func(*awscloudtrail.Options)) (*awscloudtrail.LookupEventsOutput, error) {
	out, err := c.LookupEventsAPIClient.LookupEvents(ctx, in, opts...)
	if err != nil {
		return nil, err
	}
	for _, e := range out.Events {
		if e.EventTime.Nanosecond() > 0 {
			*e.EventTime = e.EventTime.Add(-time.Millisecond)
		}
	}
	return out, nil
}

// Events whose times have milliseconds, several at each, where tokens go stale
// and syncs stop: none is skipped, even where the times are a millisecond early.
func TestMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng, faults := rand.New(rand.NewPCG(1, 23)), rand.New(rand.NewPCG(1, 24))
		fake := cloudtrailtest.New()
		region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
		const n, together = 600, 7
		for i := range n {
			at := time.Now().Add(-time.Hour - time.Duration(i/together)*1_234_567*time.Millisecond)
			region.Add(cloudtrailtest.Event{EventID: strconv.Itoa(i), EventTime: at})
		}
		fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
			if c.Input.NextToken != "" && faults.IntN(3) == 0 {
				return cloudtrailtest.StaleToken()
			}
			return nil
		})
		client := truncating{newClient(fake.AWSConfig("us-east-1"), "us-east-1", false)}
		c := connect(t, fake, Config{PageSize: 5}, WithClient(func(Partition) LookupEventsAPIClient { return client }))
		var got counter
		_, err := c.Sync(t.Context(), SyncOptions{LookbackDays: 30}, got.handle)
		require.NoError(t, err)
		got.requireOnce(t, n)

		stopped := counter{}
		var token SyncToken
		for err = errStop; err != nil; {
			var res SyncResult
			left := 4 + rng.IntN(5)
			res, err = c.Sync(t.Context(), SyncOptions{LookbackDays: 30, Since: again(t, token)}, func(ctx context.Context, p Page) error {
				if left--; left == 0 {
					return errStop
				}
				return stopped.handle(ctx, p)
			})
			token = res.Token
		}
		require.Len(t, stopped.seen, n)
	})
}
