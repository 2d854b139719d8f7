package cloudtrail

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// BenchmarkQuota reads 10,000 events of a week, side by side with reading one
// page at a time: the SDK's paginator with its default retryer. Time is
// virtual; the metrics are shares of what the quota allows.
func BenchmarkQuota(b *testing.B) {
	const pages = 200
	quota := pages * time.Second / 2
	readers := map[string]func(*testing.T, *cloudtrailtest.Fake){
		"paginator": func(t *testing.T, fake *cloudtrailtest.Fake) {
			now := time.Now()
			start := now.AddDate(0, 0, -7)
			client := awscloudtrail.NewFromConfig(fake.AWSConfig("us-east-1"))
			p := awscloudtrail.NewLookupEventsPaginator(client, &awscloudtrail.LookupEventsInput{StartTime: &start, EndTime: &now})
			events := 0
			for p.HasMorePages() {
				// Where the retryer gives up, after three attempts, it is asked again.
				if page, err := p.NextPage(t.Context()); err == nil {
					events += len(page.Events)
				}
			}
			require.Equal(t, pages*maxPageSize, events)
		},
		"connector": func(t *testing.T, fake *cloudtrailtest.Fake) {
			syncAll(t, fake, 16, pages*maxPageSize)
		},
	}
	for _, latency := range []time.Duration{4 * time.Second, 200 * time.Millisecond} {
		for _, name := range []string{"paginator", "connector"} {
			b.Run(fmt.Sprintf("page=%s/reader=%s", latency, name), func(b *testing.B) {
				var took time.Duration
				var stats cloudtrailtest.Stats
				runs := 0
				for b.Loop() {
					virtually(b, func(t *testing.T) {
						fake := cloudtrailtest.New()
						region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
						region.SetHistory(week(pages * maxPageSize))
						region.SetLatency(always(latency))
						start := time.Now()
						readers[name](t, fake)
						took += time.Since(start)
						s := region.Stats()
						stats.Requests += s.Requests
						stats.Throttled += s.Throttled
						runs++
					})
				}
				b.ReportMetric(float64(took)/float64(quota)/float64(runs), "x-quota-time")
				b.ReportMetric(float64(stats.Requests)/pages/float64(runs), "x-requests")
				b.ReportMetric(float64(stats.Throttled)/float64(runs), "throttles")
			})
		}
	}
}

// BenchmarkUnevenLatency reads the same 10,000 events where pages take 0.5 to
// 6.5 s, and 2 % of them 35 s. Each operation has another sequence of
// latencies: where a page of 35 s is the first or one of the last, it shows.
func BenchmarkUnevenLatency(b *testing.B) {
	const pages = 200
	var sum, worst float64
	runs, over := 0, 0
	for b.Loop() {
		virtually(b, func(t *testing.T) {
			fake := cloudtrailtest.New()
			region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
			region.SetHistory(week(pages * maxPageSize))
			region.SetLatency(uneven(uint64(runs)))
			start := time.Now()
			syncAll(t, fake, 64, pages*maxPageSize)
			took := time.Since(start).Seconds() / (pages / 2)
			if took > 1.25 {
				over++
			}
			sum, worst, runs = sum+took, max(worst, took), runs+1
		})
	}
	b.ReportMetric(sum/float64(runs), "x-quota-time")
	b.ReportMetric(worst, "x-quota-time-worst")
	b.ReportMetric(100*float64(over)/float64(runs), "%-over-1.25")
}

// syncAll reads what the fake's us-east-1 has: so many events.
func syncAll(t *testing.T, fake *cloudtrailtest.Fake, parallel, events int) {
	c, err := New(t.Context(), Config{ParallelRequests: parallel}, WithAWSConfig(fake.AWSConfig("us-east-1")))
	require.NoError(t, err)
	result, err := c.Sync(t.Context(), SyncOptions{}, discard)
	require.NoError(t, err)
	require.Equal(t, events, result.Records)
}

// virtually runs f with a virtual clock, which only a test can have.
func virtually(b *testing.B, f func(*testing.T)) {
	done := false // -count and -cpu apply to the benchmark already
	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) {
		if !done {
			done = true
			synctest.Test(t, f)
		}
	}}})
	if !ok {
		b.Fatal("see above")
	}
}
