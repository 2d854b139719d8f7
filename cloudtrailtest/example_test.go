package cloudtrailtest_test

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

func Example() {
	fake := cloudtrailtest.New()
	fake.Account(cloudtrailtest.AccountID).Region("eu-west-1").Add(
		cloudtrailtest.Event{EventID: "2", EventName: "TerminateInstances", EventTime: time.Now().Add(-time.Minute)},
		cloudtrailtest.Event{EventID: "1", EventName: "RunInstances", EventTime: time.Now().Add(-time.Hour)},
	)
	client := awscloudtrail.NewFromConfig(fake.AWSConfig("eu-west-1"))
	page, err := client.LookupEvents(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range page.Events {
		fmt.Println(*e.EventId, *e.EventName)
	}
	// Output:
	// 2 TerminateInstances
	// 1 RunInstances
}

// The second request of each Region meets an error, and the SDK tries again.
func ExampleFake_SetFault() {
	fake := cloudtrailtest.New()
	fake.Account(cloudtrailtest.AccountID).Region("eu-west-1").SetQuota(cloudtrailtest.Quota{Rate: math.Inf(1)})
	fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		if c.Service == "cloudtrail" && c.N == 2 {
			return cloudtrailtest.Error(503, "ServiceUnavailable", "try again")
		}
		return nil
	})
	client := awscloudtrail.NewFromConfig(fake.AWSConfig("eu-west-1"))
	for range 2 {
		_, err := client.LookupEvents(context.Background(), &awscloudtrail.LookupEventsInput{EndTime: aws.Time(time.Now())})
		fmt.Println(err)
	}
	fmt.Println(fake.Stats().Requests, "requests")
	// Output:
	// <nil>
	// <nil>
	// 3 requests
}
