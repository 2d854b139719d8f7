package cloudtrailtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

const region = "us-east-1"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client makes one attempt for each call.
func client(cfg aws.Config) *awscloudtrail.Client {
	return awscloudtrail.NewFromConfig(cfg, func(o *awscloudtrail.Options) { o.Retryer = aws.NopRetryer{} })
}

// readAll pages through everything, no faster than the quota.
func readAll(t *testing.T, c *awscloudtrail.Client, in awscloudtrail.LookupEventsInput) (events []types.Event, pages int) {
	t.Helper()
	for {
		out, err := c.LookupEvents(t.Context(), &in)
		require.NoError(t, err)
		events = append(events, out.Events...)
		pages++
		if out.NextToken == nil {
			return events, pages
		}
		in.NextToken = out.NextToken
		time.Sleep(500 * time.Millisecond)
	}
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func TestReadsAGeneratedHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := cloudtrailtest.New()
		now := time.Now()
		f.Account(cloudtrailtest.AccountID).Region(region).SetHistory(cloudtrailtest.Uniform(1, 1234, now.Add(-7*24*time.Hour), now))
		events, pages := readAll(t, client(f.AWSConfig(region)), awscloudtrail.LookupEventsInput{})
		require.Len(t, events, 1234)
		assert.Equal(t, 25, pages)
		for i, e := range events {
			require.Equal(t, cloudtrailtest.EventID(1, i), *e.EventId)
			if i > 0 {
				require.False(t, e.EventTime.After(*events[i-1].EventTime))
			}
		}
		assert.Equal(t, 0, f.Stats().Throttled)
		assert.Equal(t, 12*time.Second, time.Since(now))
	})
}

func TestServesOnLoopback(t *testing.T) {
	f := cloudtrailtest.New()
	f.Account(cloudtrailtest.AccountID).Region(region).Add(cloudtrailtest.Event{EventID: "1", EventTime: time.Now().Add(-time.Hour)})
	cfg := f.AWSConfig(region)
	cfg.BaseEndpoint, cfg.HTTPClient = aws.String(f.Start(t)), nil
	events, _ := readAll(t, client(cfg), awscloudtrail.LookupEventsInput{})
	require.Len(t, events, 1)
	assert.Equal(t, "1", *events[0].EventId)
}

func TestSilenceEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := cloudtrailtest.New()
		f.SetFault(func(cloudtrailtest.Call) *cloudtrailtest.Fault { return cloudtrailtest.Silence() })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		inFlight := time.AfterFunc(time.Second, func() { assert.Equal(t, 1, f.Stats().InFlight) })
		_, err := client(f.AWSConfig(region)).LookupEvents(ctx, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Minute, time.Since(start))
		assert.False(t, inFlight.Stop(), "it was looked at")
		assert.Zero(t, f.Stats().InFlight)
	})
}

// Everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	f, r := home()
	arn := f.Account(other).AddRole(cloudtrailtest.Role{Name: "role"})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 20 {
				r.Add(at(fmt.Sprint(i, n), time.Hour))
				r.SetHistory(cloudtrailtest.Uniform(uint64(i), 100, time.Now().Add(-time.Hour), time.Now()))
				r.SetQuota(cloudtrailtest.Quota{Rate: 1e9, Others: 1, Jitter: time.Millisecond})
				r.SetLatency(func() time.Duration { return time.Microsecond })
				r.SetDelay(func(cloudtrailtest.Event) time.Duration { return 0 })
				f.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
					if c.Service == "cloudtrail" && c.N%7 == 0 {
						return cloudtrailtest.Status(500)
					}
					return nil
				})
				cfg, _, err := assume(t, f.AWSConfig(region), sts.AssumeRoleInput{RoleArn: &arn})
				assert.NoError(t, err)
				_, _ = client(cfg).LookupEvents(t.Context(), nil) // some are throttled or faulty
				_, _ = client(f.AWSConfig(region)).LookupEvents(t.Context(), nil)
				f.Account(fmt.Sprint(i)).AddKey(fmt.Sprint(i), "secret")
			}
		})
	}
	group.Wait()
	s := f.Stats()
	assert.Equal(t, 320, s.Requests)
	assert.Equal(t, 160, s.STS["AssumeRole"])
	assert.Zero(t, s.InFlight)
}
