package cloudtrail

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// Helpers of the tests that nothing is lost.

var errStop = errors.New("the handler has enough")

// connect returns a Connector for fake.
func connect(t testing.TB, fake *cloudtrailtest.Fake, cfg Config, opts ...Option) *Connector {
	t.Helper()
	cfg.DefaultRegion = cmp.Or(cfg.DefaultRegion, "us-east-1")
	c, err := New(t.Context(), cfg, append([]Option{WithAWSConfig(fake.AWSConfig(cfg.DefaultRegion))}, opts...)...)
	require.NoError(t, err)
	return c
}

// again returns the token as another process would have it.
func again(t testing.TB, token SyncToken) SyncToken {
	t.Helper()
	parsed, err := ParseSyncToken(token.String())
	require.NoError(t, err)
	return parsed
}

// request is what a fake was asked.
type request struct {
	at         time.Time
	partition  string // "account/Region"
	start, end time.Time
	token      string
}

// recorder notes the LookupEvents requests that reach a fake.
type recorder struct {
	mu   sync.Mutex
	list []request
}

// record notes what fake is asked from now on; fault may be nil.
func record(fake *cloudtrailtest.Fake, fault func(cloudtrailtest.Call) *cloudtrailtest.Fault) *recorder {
	r := &recorder{}
	fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		if c.Service == "cloudtrail" {
			r.mu.Lock()
			r.list = append(r.list, request{time.Now(), c.AccountID + "/" + c.Region, c.Input.StartTime, c.Input.EndTime, c.Input.NextToken})
			r.mu.Unlock()
		}
		if fault == nil {
			return nil
		}
		return fault(c)
	})
	return r
}

// take returns the requests since the last take.
func (r *recorder) take() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.list
	r.list = nil
	return l
}

// requirePaced checks that no two requests of a partition are nearer than the
// quota allows.
func requirePaced(t testing.TB, requests []request, gap time.Duration) {
	t.Helper()
	last := map[string]time.Time{}
	for _, r := range requests {
		if before, ok := last[r.partition]; ok {
			require.GreaterOrEqual(t, r.at.Sub(before), gap, "%s at %s", r.partition, r.at)
		}
		last[r.partition] = r.at
	}
}

// ids of a region's history, as counter has them.
func ids(partition string, h cloudtrailtest.History, within func(time.Time) bool) []string {
	var list []string
	for i := range h.Len() {
		if e := h.Event(i); within == nil || within(e.EventTime) {
			list = append(list, partition+"/"+e.EventID)
		}
	}
	return list
}

// requireSeen checks that every one of these was delivered at least once.
func (c *counter) requireSeen(t testing.TB, want []string) {
	t.Helper()
	missing := []string{}
	for _, id := range want {
		if c.seen[id] == 0 {
			missing = append(missing, id)
		}
	}
	require.Empty(t, missing, "lost, of %d events", len(want))
}

// discard is a handler that accepts everything.
func discard(context.Context, Page) error { return nil }
