// Package stub shows a host's unit test: its own code, a stubbed CloudTrail
// client, and no credentials, network or quota.
package stub

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/cloudtrail-connector/cloudtrail"
)

// store is the host's code under test: it keeps records by UID.
type store map[string]cloudtrail.CloudResource

func (s store) upsert(_ context.Context, page cloudtrail.Page) error {
	for _, r := range page.Records {
		s[r.UID] = r
	}
	return nil
}

type client func(*awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error)

func (c client) LookupEvents(_ context.Context, in *awscloudtrail.LookupEventsInput, _ ...func(*awscloudtrail.Options)) (*awscloudtrail.LookupEventsOutput, error) {
	return c(in)
}

func TestStoreKeepsEventsByUID(t *testing.T) {
	calls := 0
	stub := client(func(in *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
		if calls++; calls == 1 {
			return nil, errors.New("connection reset") // the connector tries again
		}
		return &awscloudtrail.LookupEventsOutput{Events: []types.Event{
			{EventId: aws.String("e-1"), EventName: aws.String("RunInstances"), EventTime: aws.Time(in.EndTime.Add(-time.Hour))},
			{EventName: aws.String("ConsoleLogin"), Username: aws.String("ann")},
		}}, nil
	})
	c, err := cloudtrail.New(t.Context(), cloudtrail.Config{DefaultRegion: "eu-west-1"},
		cloudtrail.WithClient(func(cloudtrail.Partition) cloudtrail.LookupEventsAPIClient { return stub }), cloudtrail.WithLookupRate(math.Inf(1)))
	if err != nil {
		t.Fatal(err)
	}
	s := store{}
	if _, err := c.Sync(t.Context(), cloudtrail.SyncOptions{}, s.upsert); err != nil {
		t.Fatal(err)
	}
	if s["e-1"].Name != "RunInstances" || s["eu-west-1:ConsoleLogin::ann"].Name != "ConsoleLogin" || calls != 2 {
		t.Errorf("after %d calls the store has %v", calls, s)
	}
}
