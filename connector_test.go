package cloudtrail

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
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

const realEvents = "../shared/data/stratus-events.json"

// The main job on real input: what comes out of the connector is what stands in
// the file, found there without the connector's code.
func TestRealEvents(t *testing.T) {
	data, err := os.ReadFile(realEvents)
	if err != nil {
		t.Skip("the real events are not beside this checkout")
	}
	var file struct{ Events []map[string]any }
	require.NoError(t, json.Unmarshal(data, &file))
	require.Len(t, file.Events, 310)
	sources := map[string]map[string]any{}
	for _, e := range file.Events {
		sources[e["EventId"].(string)] = e
	}
	require.Len(t, sources, 310)

	isolateAWS(t)
	events, err := cloudtrailtest.LoadEvents(strings.NewReader(string(data)))
	require.NoError(t, err)
	to := time.Now().Add(-time.Hour).Truncate(time.Second)
	from := to.AddDate(0, 0, -7).Add(2 * time.Hour)
	retimed := map[string]time.Time{}
	fake := cloudtrailtest.New()
	for _, e := range cloudtrailtest.Retime(events, from, to) {
		retimed[e.EventID] = e.EventTime
		fake.Account(cloudtrailtest.AccountID).Region("eu-west-1").Add(e)
	}
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": fake.Start(t), "AWS_REGION": "eu-west-1",
		"AWS_ACCESS_KEY_ID": cloudtrailtest.AccessKeyID, "AWS_SECRET_ACCESS_KEY": cloudtrailtest.SecretAccessKey,
	} {
		t.Setenv(name, value)
	}

	start := time.Now()
	c, err := New(t.Context(), Config{}, WithRawEvents())
	require.NoError(t, err)
	records := map[string]string{} // by event id: a page that takes long is overtaken by others
	result, err := c.Sync(t.Context(), SyncOptions{}, func(_ context.Context, p Page) error {
		require.Equal(t, Partition{AccountID: cloudtrailtest.AccountID, Region: "eu-west-1"}, p.Partition)
		for _, r := range p.Records {
			line, err := json.Marshal(r)
			require.NoError(t, err)
			records[r.EventID] = string(line)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 310, result.Records)
	require.True(t, result.Partitions[0].Complete)
	require.False(t, result.Token.IsZero())
	require.Len(t, records, 310)

	captured := ""
	for id, line := range records {
		want := map[string]any{"CLOUD_PROVIDER": "AWS", "REGION": "eu-west-1"}
		source := sources[id]
		for attribute, field := range map[string]string{
			"ACCESS_KEY_ID": "AccessKeyId", "EVENT_ID": "EventId", "EVENT_NAME": "EventName", "NAME": "EventName",
			"EVENT_SOURCE": "EventSource", "USERNAME": "Username", "UID": "EventId", "RAW": "CloudTrailEvent",
		} {
			if v, _ := source[field].(string); v != "" {
				want[attribute] = v
			}
		}
		if v, ok := source["ReadOnly"].(string); ok {
			want["READ_ONLY"] = v == "true"
		}
		if list, _ := source["Resources"].([]any); len(list) > 0 {
			var resources []any
			for _, r := range list {
				resource := map[string]any{}
				for key, field := range map[string]string{"resourceType": "ResourceType", "resourceName": "ResourceName"} {
					if v, _ := r.(map[string]any)[field].(string); v != "" {
						resource[key] = v
					}
				}
				resources = append(resources, resource)
			}
			want["RESOURCES"] = resources
		}
		want["EVENT_TIME"] = retimed[id].UTC().Format(time.RFC3339)

		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &got))
		at, err := time.Parse(time.RFC3339, got["LAST_CAPTURED"].(string))
		require.NoError(t, err)
		require.False(t, at.Before(start.Truncate(0)))
		if captured == "" {
			captured = got["LAST_CAPTURED"].(string)
		}
		require.Equal(t, captured, got["LAST_CAPTURED"], "one per sync")
		delete(got, "LAST_CAPTURED")
		require.Equal(t, want, got)
	}
}

// Three accounts with three Regions each over loopback, in all three modes.
func TestAccountsAndRegions(t *testing.T) {
	const perPartition = 70
	regions := []string{"us-east-1", "eu-west-1", "ap-south-1"}
	for mode, accounts := range map[AssumeRoleMode]int{RoleEach: 3, RoleHub: 3, RoleChain: 1} {
		t.Run(string(mode), func(t *testing.T) {
			isolateAWS(t)
			fake := cloudtrailtest.New()
			now := time.Now()
			caller, roles := cloudtrailtest.AccountID, []string{}
			add := func(account string) {
				arn := fake.Account(account).AddRole(cloudtrailtest.Role{Name: "path/reader,1", Trusts: []string{caller}, ExternalID: "host-7"})
				roles = append(roles, arn)
				if mode == RoleChain || mode == RoleHub && len(roles) == 1 {
					caller = arn
				}
				for i, region := range regions {
					r := fake.Account(account).Region(region)
					r.SetHistory(small(cloudtrailtest.Uniform(uint64(len(roles)*10+i), perPartition, now.AddDate(0, 0, -6), now.Add(-time.Hour))))
					r.SetQuota(cloudtrailtest.Quota{Rate: 1000})
				}
			}
			for i := range accounts {
				add(fmt.Sprintf("%012d", 222200000000+i))
			}
			expected := accounts * len(regions) * perPartition
			if mode != RoleEach { // the hub, or the links of the chain, aren't read
				add("333300000000")
				add("333300000001")
				if mode == RoleHub {
					expected = (accounts + 1) * len(regions) * perPartition
				} else {
					expected = len(regions) * perPartition
				}
			}
			t.Setenv("AWS_ENDPOINT_URL", fake.Start(t))
			cfg, err := ConfigFromSettings(map[string]string{
				"accessKeyId": cloudtrailtest.AccessKeyID, "secretAccessKey": cloudtrailtest.SecretAccessKey,
				"assumeRoleArn": strings.Join(roles, ", "), "assumeRoleMode": string(mode), "externalId": "host-7",
				"regions": strings.Join(regions, ","),
			})
			require.NoError(t, err)
			c, err := New(t.Context(), cfg, WithLookupRate(100))
			require.NoError(t, err)
			require.NoError(t, c.Test(t.Context()))
			var got counter
			result, err := c.Sync(t.Context(), SyncOptions{}, got.handle)
			require.NoError(t, err)
			got.requireOnce(t, expected)
			require.Len(t, result.Partitions, expected/perPartition)
			planned, err := c.Partitions(t.Context())
			require.NoError(t, err)
			for i, p := range result.Partitions {
				require.Equal(t, planned[i], p.Partition)
				require.True(t, p.Complete)
				require.Equal(t, perPartition, p.Records)
			}
		})
	}
}

// stub serves pages of events over a time range, whatever is asked.
type stub struct {
	inFlight, most, requests atomic.Int64
	lookup                   func(*awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error)
}

func (s *stub) LookupEvents(_ context.Context, in *awscloudtrail.LookupEventsInput, _ ...func(*awscloudtrail.Options)) (*awscloudtrail.LookupEventsOutput, error) {
	s.requests.Add(1)
	n := s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	for {
		if most := s.most.Load(); n <= most || s.most.CompareAndSwap(most, n) {
			break
		}
	}
	time.Sleep(300 * time.Millisecond)
	return s.lookup(in)
}

// A stubbed client needs nothing of the environment, and the bound holds.
func TestStubbedClient(t *testing.T) {
	t.Setenv("AWS_PROFILE", "there-is-no-such-profile")
	t.Setenv("AWS_CONFIG_FILE", "/does/not/exist")
	synctest.Test(t, func(t *testing.T) {
		s := &stub{lookup: func(in *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
			return &awscloudtrail.LookupEventsOutput{Events: []types.Event{{EventId: aws.String("1"), EventTime: aws.Time(in.EndTime.Add(-time.Hour))}}}, nil
		}}
		c, err := New(t.Context(), Config{Regions: []string{"all"}, ParallelRequests: 3}, WithClient(func(Partition) LookupEventsAPIClient { return s }))
		require.NoError(t, err)
		result, err := c.Sync(t.Context(), SyncOptions{}, func(context.Context, Page) error { return nil })
		require.NoError(t, err)
		require.Equal(t, 34, result.Records)
		require.EqualValues(t, 34, s.requests.Load())
		require.EqualValues(t, 3, s.most.Load())
		require.Equal(t, "us-east-1", result.Partitions[0].Partition.String())
	})
}

// 100 partitions and two slots: both are busy while there is something to do,
// and every partition gets its first page before any gets its third.
func TestNoPartitionStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		roles, regions := many(fake, 100)
		for _, r := range regions {
			r.SetHistory(week(200))
			r.SetLatency(always(time.Second))
		}
		var order []string
		var mu sync.Mutex
		c, err := New(t.Context(), Config{AssumeRoleARN: roles, DefaultRegion: "us-east-1", ParallelRequests: 2}, WithAWSConfig(fake.AWSConfig("us-east-1")),
			WithObserver(Observer{Request: func(r RequestInfo) { mu.Lock(); order = append(order, r.Partition.String()); mu.Unlock() }}))
		require.NoError(t, err)
		start := time.Now()
		var got counter
		_, err = c.Sync(t.Context(), SyncOptions{}, got.handle)
		require.NoError(t, err)
		got.requireOnce(t, 100*200)
		first := map[string]bool{}
		for _, p := range order[:102] {
			first[p] = true
		}
		require.Len(t, first, 100)
		stats := fake.Stats()
		require.Equal(t, 2, stats.MaxInFlight)
		busy := stats.Busy.Seconds() / (2 * time.Since(start).Seconds())
		require.GreaterOrEqual(t, busy, 0.995, "share of the time that the slots were busy")
	})
}

func TestQuietPartitionCostsOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		r := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
		r.SetHistory(week(30))
		r.SetLatency(always(4 * time.Second))
		c, err := New(t.Context(), Config{DefaultRegion: "us-east-1"}, WithAWSConfig(fake.AWSConfig("us-east-1")))
		require.NoError(t, err)
		var got counter
		_, err = c.Sync(t.Context(), SyncOptions{}, got.handle)
		require.NoError(t, err)
		got.requireOnce(t, 30)
		require.Equal(t, 1, r.Stats().Requests)
	})
}

// Two Syncs of one Connector together stay at the quota of each partition.
func TestSyncsShareTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		r := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
		r.SetHistory(week(2_000))
		r.SetLatency(always(time.Second))
		c, err := New(t.Context(), Config{DefaultRegion: "us-east-1"}, WithAWSConfig(fake.AWSConfig("us-east-1")))
		require.NoError(t, err)
		var group sync.WaitGroup
		finished := make([]time.Duration, 2)
		start := time.Now()
		for i := range finished {
			group.Go(func() {
				var got counter
				_, err := c.Sync(t.Context(), SyncOptions{}, got.handle)
				require.NoError(t, err)
				got.requireOnce(t, 2_000)
				finished[i] = time.Since(start)
			})
		}
		group.Wait()
		require.Zero(t, r.Stats().Throttled)
		require.LessOrEqual(t, max(finished[0], finished[1]).Seconds(), 1.1*float64(r.Stats().Requests)/2)
	})
}
