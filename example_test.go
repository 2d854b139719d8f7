package cloudtrail_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// A sync of two Regions. The fake stands in for AWS; without WithAWSConfig the
// credentials come from the AWS default chain.
func ExampleConnector_Sync() {
	ctx := context.Background()
	fake := newFake()
	c, err := cloudtrail.New(ctx, cloudtrail.Config{Regions: []string{"us-east-1", "eu-west-1"}},
		cloudtrail.WithAWSConfig(fake.AWSConfig("us-east-1")))
	if err != nil {
		fmt.Println(err)
		return
	}
	records := map[string]cloudtrail.CloudResource{} // the host's database
	result, err := c.Sync(ctx, cloudtrail.SyncOptions{LookbackDays: 7},
		func(_ context.Context, page cloudtrail.Page) error {
			for _, r := range page.Records {
				records[r.UID] = r
			}
			return nil
		})
	if err != nil {
		fmt.Println(err) // what could be read was handed over, and the token keeps the rest
	}
	for _, p := range result.Partitions {
		fmt.Println(p.Partition, p.Records, p.Complete)
	}
	fmt.Println(len(records), "records;", records["1"].EventName, records["1"].Region)
	// Output:
	// 111122223333/us-east-1 4 true
	// 111122223333/eu-west-1 0 true
	// 4 records; CreateUser us-east-1
}

// A host that stores each page together with its token can be stopped anywhere:
// the sync after that goes on from the last token that was stored.
func ExampleConnector_Sync_resume() {
	ctx := context.Background()
	fake := newFake()
	c, err := cloudtrail.New(ctx, cloudtrail.Config{PageSize: 2},
		cloudtrail.WithAWSConfig(fake.AWSConfig("us-east-1")))
	if err != nil {
		fmt.Println(err)
		return
	}
	// What a host keeps in its database, changed in one transaction.
	records, state := map[string]string{}, ""
	store := func(_ context.Context, page cloudtrail.Page) error {
		for _, r := range page.Records {
			records[r.UID] = r.EventName
		}
		state = page.Token().String()
		return nil
	}

	pages := 0
	_, err = c.Sync(ctx, cloudtrail.SyncOptions{}, func(ctx context.Context, page cloudtrail.Page) error {
		if pages++; pages == 2 {
			return errors.New("the power is gone")
		}
		return store(ctx, page)
	})
	fmt.Println(err, "after", len(records), "records")

	since, err := cloudtrail.ParseSyncToken(state)
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := c.Sync(ctx, cloudtrail.SyncOptions{Since: since}, store)
	fmt.Println(len(records), "records", err)
	state = result.Token.String() // it covers the time without events too
	// Output:
	// the power is gone after 2 records
	// 4 records <nil>
}

// One sync of two accounts, each through a role of its own. AssumeRoleMode says
// what a list means; RoleEach is the default.
func ExampleConfig_roles() {
	ctx := context.Background()
	fake := newFake()
	var roles []string
	for _, account := range []string{"444455556666", "777788889999"} {
		a := fake.Account(account)
		roles = append(roles, a.AddRole(cloudtrailtest.Role{Name: "audit", ExternalID: "example"}))
		a.Region("us-east-1").Add(cloudtrailtest.Event{EventID: account, EventName: "PutBucketPolicy", EventTime: time.Now().Add(-time.Hour)})
	}
	c, err := cloudtrail.New(ctx, cloudtrail.Config{
		AssumeRoleARN:  strings.Join(roles, ","),
		AssumeRoleMode: cloudtrail.RoleEach,
		ExternalID:     "example",
	}, cloudtrail.WithAWSConfig(fake.AWSConfig("us-east-1")))
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := c.Sync(ctx, cloudtrail.SyncOptions{},
		func(context.Context, cloudtrail.Page) error { return nil })
	for _, p := range result.Partitions {
		fmt.Println(p.Partition, p.Partition.RoleARN, p.Records)
	}
	fmt.Println(err)
	// Output:
	// 444455556666/us-east-1 arn:aws:iam::444455556666:role/audit 1
	// 777788889999/us-east-1 arn:aws:iam::777788889999:role/audit 1
	// <nil>
}

// stub is a CloudTrail client with one page.
type stub []types.Event

func (s stub) LookupEvents(context.Context, *awscloudtrail.LookupEventsInput, ...func(*awscloudtrail.Options)) (*awscloudtrail.LookupEventsOutput, error) {
	return &awscloudtrail.LookupEventsOutput{Events: s}, nil
}

// A host's unit test needs neither credentials nor network: it stubs the one
// operation that the connector calls.
func ExampleWithClient() {
	ctx := context.Background()
	events := stub{{EventId: aws.String("1"), EventName: aws.String("ConsoleLogin"), EventTime: aws.Time(time.Now())}}
	c, err := cloudtrail.New(ctx, cloudtrail.Config{Regions: []string{"us-east-1"}},
		cloudtrail.WithClient(func(cloudtrail.Partition) cloudtrail.LookupEventsAPIClient { return events }))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Sync(ctx, cloudtrail.SyncOptions{}, func(_ context.Context, page cloudtrail.Page) error {
		fmt.Println(page.Partition, page.Records[0].UID, page.Records[0].Name)
		return nil
	})
	fmt.Println(err)
	// Output:
	// us-east-1 1 ConsoleLogin
	// <nil>
}

// CloudTrail applies the filter. A filter needs a sync token of its own.
func ExampleFilter() {
	ctx := context.Background()
	c, err := cloudtrail.New(ctx, cloudtrail.Config{}, cloudtrail.WithAWSConfig(newFake().AWSConfig("us-east-1")))
	if err != nil {
		fmt.Println(err)
		return
	}
	writing := cloudtrail.SyncOptions{Filter: cloudtrail.Filter{Key: "ReadOnly", Value: "false"}}
	result, err := c.Sync(ctx, writing, func(_ context.Context, page cloudtrail.Page) error {
		for _, r := range page.Records {
			fmt.Println(r.EventName)
		}
		return nil
	})
	fmt.Println(err)

	_, err = c.Sync(ctx, cloudtrail.SyncOptions{Since: result.Token},
		func(context.Context, cloudtrail.Page) error { return nil })
	fmt.Println(errors.Is(err, cloudtrail.ErrInvalidToken))
	// Output:
	// DeleteBucket
	// CreateUser
	// <nil>
	// true
}

// An Observer sees each attempt, each retry and the progress of each partition.
// Its functions are called from several goroutines.
func ExampleWithObserver() {
	ctx := context.Background()
	fake := newFake()
	fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		if c.Action == "LookupEvents" && c.N == 1 {
			return cloudtrailtest.Throttling()
		}
		return nil
	})
	c, err := cloudtrail.New(ctx, cloudtrail.Config{},
		cloudtrail.WithAWSConfig(fake.AWSConfig("us-east-1")),
		cloudtrail.WithObserver(cloudtrail.Observer{
			Request: func(r cloudtrail.RequestInfo) { fmt.Println("attempt", r.Attempt, "events", r.Events) },
			Retry:   func(r cloudtrail.RetryInfo) { fmt.Println("attempt", r.Attempt, "is followed by another") },
			Progress: func(p cloudtrail.Progress) {
				fmt.Printf("%s %.0f %% records %d done %t\n", p.Partition, 100*p.Covered, p.Records, p.Done)
			},
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Sync(ctx, cloudtrail.SyncOptions{},
		func(context.Context, cloudtrail.Page) error { return nil })
	fmt.Println(err)
	// Output:
	// attempt 1 events 0
	// attempt 1 is followed by another
	// attempt 2 events 4
	// 111122223333/us-east-1 100 % records 4 done true
	// <nil>
}

// Settings and options as a host keeps them. Everything that is wrong is
// reported at once.
func ExampleConfigFromSettings() {
	_, err := cloudtrail.ConfigFromSettings(map[string]string{
		"regions":         "us-east-1,eu-west-1",
		"accesskeyid":     "AKIAIOSFODNN7EXAMPLE",
		"sessionDuration": "60",
	})
	fmt.Println(err)

	_, err = cloudtrail.ParseOperationOptions(map[string]string{"lookbackDays": "0", "filter": "Readonly=false"})
	fmt.Println(err)
	// Output:
	// cloudtrail: sessionDuration: must be a whole number of seconds from 900 to 43200
	// cloudtrail: accesskeyid: unknown setting: write "accessKeyId"
	// cloudtrail: filter: unknown key: write "ReadOnly"
	// cloudtrail: lookbackDays: must be a number of days above 0
}

// newFake returns a fake AWS whose account has four events in us-east-1.
func newFake() *cloudtrailtest.Fake {
	fake := cloudtrailtest.New()
	now := time.Now()
	fake.Account(cloudtrailtest.AccountID).Region("us-east-1").Add(
		cloudtrailtest.Event{EventID: "4", EventName: "ListBuckets", ReadOnly: "true", EventTime: now.Add(-1 * time.Hour)},
		cloudtrailtest.Event{EventID: "3", EventName: "DeleteBucket", ReadOnly: "false", EventTime: now.Add(-2 * time.Hour)},
		cloudtrailtest.Event{EventID: "2", EventName: "GetUser", ReadOnly: "true", EventTime: now.Add(-3 * time.Hour)},
		cloudtrailtest.Event{EventID: "1", EventName: "CreateUser", ReadOnly: "false", EventTime: now.Add(-4 * time.Hour)},
	)
	return fake
}
