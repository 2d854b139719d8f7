package cloudtrail

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// lookupFunc is a stubbed client.
type lookupFunc func(context.Context, *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error)

func (f lookupFunc) LookupEvents(ctx context.Context, in *awscloudtrail.LookupEventsInput, _ ...func(*awscloudtrail.Options)) (*awscloudtrail.LookupEventsOutput, error) {
	return f(ctx, in)
}

func stubbed(t testing.TB, cfg Config, f lookupFunc, opts ...Option) *Connector {
	t.Helper()
	cfg.DefaultRegion = "us-east-1"
	c, err := New(t.Context(), cfg, append(opts, WithClient(func(Partition) LookupEventsAPIClient { return f }))...)
	require.NoError(t, err)
	return c
}

// fixedPages is a stub that knows no times: the same pages, whatever is asked.
func fixedPages(latency time.Duration, pages ...[]types.Event) lookupFunc {
	return func(_ context.Context, in *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
		time.Sleep(latency)
		i := 0
		fmt.Sscan(aws.ToString(in.NextToken), &i)
		out := &awscloudtrail.LookupEventsOutput{Events: append([]types.Event{}, pages[i]...)}
		if i+1 < len(pages) {
			out.NextToken = aws.String(fmt.Sprint(i + 1))
		}
		return out, nil
	}
}

// A simple stub's events may have any time, or none: no bound can be decided for
// them, so each still comes once.
func TestEventsOfSimpleStubsComeOnce(t *testing.T) {
	old := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, at := range map[string]func(i int) *time.Time{
		"no times":  func(int) *time.Time { return nil },
		"old times": func(i int) *time.Time { return aws.Time(old.Add(-time.Duration(i) * time.Hour)) },
		"now":       func(int) *time.Time { return aws.Time(time.Now()) },
	} {
		for _, rate := range []float64{2, math.Inf(1)} {
			for _, latency := range []time.Duration{0, 3 * time.Second} {
				for _, staleAt := range []string{"", "3"} {
					t.Run(fmt.Sprint(name, rate, latency, staleAt), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							var pages [][]types.Event
							for i := range 5 {
								page := []types.Event{}
								for j := range 3 {
									page = append(page, types.Event{EventId: aws.String(fmt.Sprintf("%d-%d", i, j)), EventTime: at(3*i + j)})
								}
								pages = append(pages, page)
							}
							serve := fixedPages(latency, pages...)
							var stale atomic.Bool
							stale.Store(staleAt != "")
							var got counter
							c := stubbed(t, Config{}, func(ctx context.Context, in *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
								if aws.ToString(in.NextToken) == staleAt && stale.CompareAndSwap(true, false) {
									return nil, &types.InvalidNextTokenException{}
								}
								return serve(ctx, in)
							}, WithLookupRate(rate))
							_, err := c.Sync(t.Context(), SyncOptions{}, got.handle)
							require.NoError(t, err)
							got.requireOnce(t, 15)
						})
					})
				}
			}
		}
	}
}

// A server that hands out one NextToken for ever is given up, whether its events
// can be recognised or not.
func TestEndlessPagingEnds(t *testing.T) {
	for name, events := range map[string][]types.Event{
		"empty":         nil,
		"same":          {{EventId: aws.String("a"), EventTime: aws.Time(time.Now())}},
		"without id":    {{EventTime: aws.Time(time.Now())}},
		"without time":  {{EventId: aws.String("a")}},
		"with nothing":  {{}},
		"twice the old": {{EventId: aws.String("a")}, {EventId: aws.String("a")}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := stubbed(t, Config{MaxRetries: 3}, func(context.Context, *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
					return &awscloudtrail.LookupEventsOutput{Events: append([]types.Event{}, events...), NextToken: aws.String("x")}, nil
				})
				result, err := c.Sync(t.Context(), SyncOptions{}, discard)
				var failed *PartitionError
				require.ErrorAs(t, err, &failed)
				require.False(t, result.Partitions[0].Complete)
				require.Less(t, result.Partitions[0].Requests, 30)
			})
		})
	}
}

// Waiting for a backoff takes no turn of the pacer: a retry starts when its
// backoff and the gap since the last attempt are over.
func TestBackoffTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var starts []time.Duration
		var waits []time.Duration
		c := stubbed(t, Config{}, func(context.Context, *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
			starts = append(starts, time.Since(begin))
			time.Sleep(11 * time.Second)
			if len(starts) < 4 {
				return nil, errors.New("connection reset")
			}
			return &awscloudtrail.LookupEventsOutput{}, nil
		}, WithLookupRate(0.1), WithObserver(Observer{Retry: func(r RetryInfo) { waits = append(waits, r.Wait) }}))
		_, err := c.Sync(t.Context(), SyncOptions{}, discard)
		require.NoError(t, err)
		require.Len(t, starts, 4)
		for i, wait := range waits {
			require.Equal(t, starts[i]+11*time.Second+wait, starts[i+1])
		}
	})
}

func TestExtremeSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := []types.Event{{EventId: aws.String("a"), EventTime: aws.Time(time.Now())}}
		for _, rate := range []float64{math.SmallestNonzeroFloat64, 1e-9, math.MaxFloat64, math.Inf(1)} {
			c := stubbed(t, Config{ParallelRequests: math.MaxInt, PageSize: math.MaxInt, MaxRetries: math.MaxInt}, fixedPages(0, page), WithLookupRate(rate))
			result, err := c.Sync(t.Context(), SyncOptions{LookbackDays: math.MaxFloat64}, discard)
			require.NoError(t, err)
			require.Equal(t, 1, result.Records)
		}
		// The slowest rate does wait.
		ctx, cancel := context.WithTimeout(t.Context(), 365*24*time.Hour)
		defer cancel()
		c := stubbed(t, Config{}, fixedPages(0, page, page), WithLookupRate(math.SmallestNonzeroFloat64))
		result, err := c.Sync(ctx, SyncOptions{}, discard)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, result.Partitions[0].Requests)
	})
}

func TestWhatIsWorthARetry(t *testing.T) {
	for name, c := range map[string]struct {
		err      error
		attempts int
	}{
		"neither code nor status": {errors.New("x"), 4},
		"an empty code":           {&smithy.GenericAPIError{Message: "x"}, 4},
		"a cancel of its own":     {context.Canceled, 4},
		"throttling":              {&smithy.GenericAPIError{Code: "ThrottlingException"}, 4},
		"a server's fault":        {&smithy.GenericAPIError{Code: "New", Fault: smithy.FaultServer}, 4},
		"unknown code":            {&smithy.GenericAPIError{Code: "SomethingNew"}, 1},
		"permission":              {&smithy.GenericAPIError{Code: "AccessDeniedException"}, 1},
		"validation":              {&types.InvalidLookupAttributesException{}, 1},
		"wrong secret":            {&smithy.GenericAPIError{Code: "InvalidSignatureException", Message: "does not match"}, 1},
		"wrong clock":             {&smithy.GenericAPIError{Code: "InvalidSignatureException", Message: "Signature expired: 2026"}, 4},
		"expired session":         {&smithy.GenericAPIError{Code: "ExpiredTokenException"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connector := stubbed(t, Config{MaxRetries: 4}, func(context.Context, *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
					return nil, c.err
				})
				result, err := connector.Sync(t.Context(), SyncOptions{}, discard)
				require.ErrorIs(t, err, c.err)
				require.Equal(t, c.attempts, result.Partitions[0].Requests)
				require.Equal(t, c.attempts-1, result.Partitions[0].Retries)
			})
		})
	}
}

// What a request says because the context ended is no failure of a partition.
func TestCancelFailsNoPartition(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c := stubbed(t, Config{MaxRetries: 1}, func(ctx context.Context, _ *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}, WithObserver(Observer{Retry: func(RetryInfo) { t.Error("retried") }}))
			result, err := c.Sync(ctx, SyncOptions{}, discard)
			require.Equal(t, context.DeadlineExceeded.Error(), err.Error())
			require.NoError(t, result.Partitions[0].Err)
			require.False(t, result.Partitions[0].Complete)
		})
	}
}

// The observer hears once, at the end, that a partition is done, and the share
// covered never falls.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		var reports []Progress
		c := stubbed(t, Config{}, func(_ context.Context, in *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
			if aws.ToString(in.NextToken) == "3" {
				return nil, &smithy.GenericAPIError{Code: "AccessDeniedException"}
			}
			return fixedPages(0,
				[]types.Event{{EventId: aws.String("a"), EventTime: aws.Time(now.Add(-time.Minute))}},
				[]types.Event{{EventId: aws.String("b"), EventTime: aws.Time(now.Add(-2 * time.Minute))}},
				[]types.Event{{EventId: aws.String("c"), EventTime: aws.Time(now.Add(-3 * time.Minute))}}, nil)(context.Background(), in)
		}, WithObserver(Observer{Progress: func(p Progress) { reports = append(reports, p) }}))
		_, err := c.Sync(t.Context(), SyncOptions{LookbackDays: 0.01}, func(context.Context, Page) error {
			time.Sleep(2 * time.Second)
			return nil
		})
		require.Error(t, err)
		require.Len(t, reports, 3)
		for i, r := range reports {
			require.Equal(t, i == len(reports)-1, r.Done)
			require.Equal(t, i+1, r.Pages)
			require.InDelta(t, float64(i+1)/14.4, r.Covered, 0.001)
		}
	})
}

// A page that the handler has been given holds no slot: with a single one the
// next page is fetched meanwhile.
func TestHandlerHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pages [][]types.Event
		for i := range 30 {
			pages = append(pages, []types.Event{{EventId: aws.String(fmt.Sprint(i)), EventTime: aws.Time(time.Now().Add(-time.Duration(i) * time.Minute))}})
		}
		begin := time.Now()
		c := stubbed(t, Config{ParallelRequests: 1}, fixedPages(time.Second, pages...))
		_, err := c.Sync(t.Context(), SyncOptions{}, func(context.Context, Page) error {
			time.Sleep(900 * time.Millisecond)
			return nil
		})
		require.NoError(t, err)
		require.Less(t, time.Since(begin), 32*time.Second) // in virtual time
	})
}

// While the handler is stuck, no more pages pile up than ParallelRequests.
func TestPagesWaitingAreBounded(t *testing.T) {
	for _, parallel := range []int{1, 2, 7} {
		synctest.Test(t, func(t *testing.T) {
			fake := cloudtrailtest.New()
			roles, regions := many(fake, 5)
			for _, r := range regions {
				r.SetHistory(week(2_000))
			}
			c, err := New(t.Context(), Config{AssumeRoleARN: roles, DefaultRegion: "us-east-1", ParallelRequests: parallel}, WithAWSConfig(fake.AWSConfig("us-east-1")))
			require.NoError(t, err)
			pages := 0
			_, err = c.Sync(t.Context(), SyncOptions{}, func(context.Context, Page) error {
				pages++
				if pages%50 == 1 {
					time.Sleep(time.Hour)
					require.Equal(t, pages+parallel, fake.Stats().Requests)
				}
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, 200, pages)
		})
	}
}

// A stub that plays a list of answers, whatever is asked, gives all of them.
func TestStubThatPlaysAList(t *testing.T) {
	for _, c := range []struct {
		size    int // of a page
		latency time.Duration
	}{{2, 0}, {2, 3 * time.Second}, {49, 0}, {49, 3 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			played := 0
			connector := stubbed(t, Config{}, func(context.Context, *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
				time.Sleep(c.latency)
				mu.Lock()
				defer mu.Unlock()
				played++
				out := &awscloudtrail.LookupEventsOutput{}
				for i := range c.size {
					out.Events = append(out.Events, types.Event{EventId: aws.String(fmt.Sprint(played, " ", i)), EventTime: aws.Time(time.Now().Add(-time.Duration(c.size*played+i) * time.Minute))})
				}
				if played < 4 {
					out.NextToken = aws.String("more")
				}
				return out, nil
			}, WithLookupRate(math.Inf(1)))
			var got counter
			result, err := connector.Sync(t.Context(), SyncOptions{}, got.handle)
			require.NoError(t, err)
			got.requireOnce(t, 4*c.size)
			require.Equal(t, 4, result.Partitions[0].Requests)
		})
	}
}

// AWS may return less than it was asked for: its pages still show how much there
// is.
func TestPagesThatAreNotFull(t *testing.T) {
	for _, size := range []int32{25, 49} {
		synctest.Test(t, func(t *testing.T) {
			fake := cloudtrailtest.New()
			region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
			region.SetHistory(week(2_000))
			region.SetLatency(always(4 * time.Second))
			cfg := fake.AWSConfig("us-east-1")
			cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
				return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Less", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
					if lookup, ok := in.Parameters.(*awscloudtrail.LookupEventsInput); ok {
						lookup.MaxResults = aws.Int32(size)
					}
					return next.HandleInitialize(ctx, in)
				}), middleware.Before)
			})
			c, err := New(t.Context(), Config{}, WithAWSConfig(cfg))
			require.NoError(t, err)
			start := time.Now()
			var got counter
			result, err := c.Sync(t.Context(), SyncOptions{}, got.handle)
			require.NoError(t, err)
			got.requireOnce(t, 2_000)
			quota := time.Duration(result.Partitions[0].Requests) * time.Second / 2
			require.Less(t, time.Since(start), 2*quota, "%d a page", size)
		})
	}
}
