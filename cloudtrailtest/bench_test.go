package cloudtrailtest_test

import (
	"math"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// BenchmarkPage is the cost of a page of 50 events in the middle of a history
// of 50,000,000, the SDK's decoding included.
func BenchmarkPage(b *testing.B) {
	f := cloudtrailtest.New()
	r := f.Account(cloudtrailtest.AccountID).Region(region)
	r.SetQuota(cloudtrailtest.Quota{Rate: math.Inf(1)})
	now := time.Now()
	r.SetHistory(cloudtrailtest.Uniform(1, 50_000_000, now.Add(-80*24*time.Hour), now))
	c := client(f.AWSConfig(region))
	for b.Loop() {
		if _, err := c.LookupEvents(b.Context(), &awscloudtrail.LookupEventsInput{EndTime: aws.Time(now.Add(-40 * 24 * time.Hour))}); err != nil {
			b.Fatal(err)
		}
	}
}
