package cloudtrail

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// requireNoGoroutine checks that the caller is alone in its bubble, without
// giving the others time to end.
func requireNoGoroutine(t testing.TB) {
	t.Helper()
	synctest.Wait()
	buf := make([]byte, 1<<20)
	stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	for _, s := range stacks[1:] { // the first is the caller's
		head, _, _ := strings.Cut(s, "\n")
		if strings.Contains(head, "synctest bubble") && strings.Contains(s, "cloudtrail.(*") {
			t.Fatalf("left behind:\n%s", s)
		}
	}
}

// stoppable is a sync in which everything happens: roles and an account id to
// find, splits, faults and backoff, a slow handler.
type stoppable struct {
	fake  *cloudtrailtest.Fake
	c     *Connector
	want  []string
	steps atomic.Int64
	at    func(step int64) // called at each step of the sync
}

func newStoppable(t testing.TB, roles bool) *stoppable {
	s := &stoppable{fake: cloudtrailtest.New(), at: func(int64) {}}
	step := func() { s.at(s.steps.Add(1)) }
	cfg := Config{ParallelRequests: 4, MaxRetries: 6}
	account := cloudtrailtest.AccountID
	if roles {
		account = accountB
		cfg.AssumeRoleARN = s.fake.Account(account).AddRole(cloudtrailtest.Role{Name: "reader"})
	}
	region, want := awkward(s.fake, account, 300)
	region.SetLatency(always(2 * time.Second))
	s.want = want
	s.fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		step()
		switch {
		case c.N%5 == 3 && c.Service == "cloudtrail":
			return cloudtrailtest.Status(500)
		case c.N == 1 && c.Action == "AssumeRole":
			return cloudtrailtest.Status(500)
		case c.N == 1 && c.Action == "GetCallerIdentity":
			return cloudtrailtest.Slow(time.Second)
		}
		return nil
	})
	s.c = connect(t, s.fake, cfg, WithObserver(Observer{
		Request:  func(RequestInfo) { step() },
		Retry:    func(RetryInfo) { step() },
		Progress: func(Progress) { step() },
	}))
	return s
}

// rest reads what is left and checks that it was all.
func (s *stoppable) rest(t testing.TB, token SyncToken, got *counter) {
	t.Helper()
	s.at = func(int64) {}
	s.fake.SetFault(nil)
	_, err := s.c.Sync(t.Context(), SyncOptions{Since: again(t, token)}, got.handle)
	require.NoError(t, err)
	got.requireSeen(t, s.want)
	require.Len(t, got.seen, len(s.want))
}

// Cancelled at every step and every half second: Sync returns at once, with no
// goroutine left, and its token has what the handler stored.
func TestCancelEverywhere(t *testing.T) {
	for _, roles := range []bool{true, false} {
		steps := int64(1)
		for stop := int64(0); stop <= steps; stop++ {
			synctest.Test(t, func(t *testing.T) {
				s := newStoppable(t, roles)
				ctx, cancel := context.WithCancel(t.Context())
				var once sync.Once
				var stopped time.Time
				end := func() { once.Do(func() { stopped = time.Now(); cancel() }) }
				s.at = func(n int64) {
					if n == stop {
						end()
					}
				}
				if stop == 0 {
					end()
				}
				var got counter
				res, err := s.c.Sync(ctx, SyncOptions{}, got.handle)
				requireNoGoroutine(t)
				if stop < 2 { // as long as nobody stops it: how many steps there are
					steps = 60
				}
				if stopped.IsZero() || err == nil {
					steps = stop
					return
				}
				require.ErrorIs(t, err, context.Canceled)
				require.Zero(t, time.Since(stopped), "stopped at step %d", stop)
				if stop == 0 {
					require.Zero(t, s.fake.Stats().Requests)
					require.Equal(t, SyncToken{}, res.Token)
				}
				s.rest(t, res.Token, &got)
			})
		}
		require.Greater(t, steps, int64(20))
		for after := range 20 {
			synctest.Test(t, func(t *testing.T) {
				s := newStoppable(t, roles)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(after)*500*time.Millisecond+time.Millisecond)
				defer cancel()
				var got counter
				res, err := s.c.Sync(ctx, SyncOptions{}, got.handle)
				requireNoGoroutine(t)
				if err != nil {
					deadline, _ := ctx.Deadline()
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.Zero(t, time.Since(deadline))
				}
				s.rest(t, res.Token, &got)
			})
		}
	}
}

// A handler that fails stops it as promptly, wherever other requests are.
func TestHandlerErrorIsPrompt(t *testing.T) {
	for stop := 1; stop <= 6; stop++ {
		synctest.Test(t, func(t *testing.T) {
			s := newStoppable(t, true)
			var got counter
			var failed time.Time
			n := 0
			res, err := s.c.Sync(t.Context(), SyncOptions{}, func(ctx context.Context, p Page) error {
				time.Sleep(700 * time.Millisecond)
				if n++; n == stop {
					failed = time.Now()
					return errStop
				}
				return got.handle(ctx, p)
			})
			requireNoGoroutine(t)
			require.ErrorIs(t, err, errStop)
			require.Zero(t, time.Since(failed))
			require.Equal(t, stop, n)
			s.rest(t, res.Token, &got)
		})
	}
}

// A cancelled sync waits for the handler, which is told by its context, and the
// page that it stored meanwhile counts.
func TestCancelWhileTheHandlerStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStoppable(t, true)
		ctx, cancel := context.WithCancel(t.Context())
		var got counter
		var last SyncToken
		res, err := s.c.Sync(ctx, SyncOptions{}, func(ctx context.Context, p Page) error {
			if len(got.seen) > 100 {
				cancel()
				<-ctx.Done()
				time.Sleep(time.Minute)
			}
			last = p.Token()
			return got.handle(ctx, p)
		})
		requireNoGoroutine(t)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, last, res.Token)
		s.rest(t, res.Token, &got)
	})
}

// A client that ignores its context is waited for: one request, no more.
func TestCancelWithADeafClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{lookup: func(in *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
			return &awscloudtrail.LookupEventsOutput{NextToken: aws.String("more"), Events: []types.Event{{EventTime: in.EndTime}}}, nil
		}}
		c, err := New(t.Context(), Config{Regions: []string{"all"}}, WithClient(func(Partition) LookupEventsAPIClient { return s }))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		_, err = c.Sync(ctx, SyncOptions{}, discard)
		requireNoGoroutine(t)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.LessOrEqual(t, time.Since(start), 10*time.Second+300*time.Millisecond)
	})
}

// A handler that panics, or ends its goroutine, does so on the goroutine that
// called Sync; nothing is left of it, and the last token is good.
func TestHandlerThatDoesNotReturn(t *testing.T) {
	for name, leave := range map[string]func(){
		"panic":  func() { panic("the disk is full") },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			for stop := 1; stop <= 5; stop++ {
				synctest.Test(t, func(t *testing.T) {
					s := newStoppable(t, true)
					var got counter
					var token SyncToken
					var recovered any
					returned := false
					done := make(chan struct{})
					go func() {
						defer close(done)
						defer func() { recovered = recover() }()
						n := 0
						s.c.Sync(t.Context(), SyncOptions{}, func(ctx context.Context, p Page) error {
							if n++; n == stop {
								leave()
							}
							token = p.Token()
							return got.handle(ctx, p)
						})
						returned = true
					}()
					<-done
					requireNoGoroutine(t)
					require.False(t, returned)
					require.Equal(t, name == "panic", recovered == "the disk is full")
					s.rest(t, token, &got)
				})
			}
		})
	}
}
