package cloudtrail

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
)

const (
	// maxPageSize is the API's cap; the service refuses a larger MaxResults.
	maxPageSize = 50
	// requestTimeout bounds one attempt. Pages of 35 s have been measured in
	// us-east-1; a server that stays silent would block for ever without it.
	requestTimeout = 90 * time.Second
)

// newClient returns the SDK's client for a Region. It makes a single attempt:
// the SDK's retry loop reuses the output of a failed decode, so that a
// NextToken can leak from one attempt into the next, it isn't paced, and
// AWS_MAX_ATTEMPTS changes it.
func newClient(cfg aws.Config, region string, raw bool) LookupEventsAPIClient {
	return awscloudtrail.NewFromConfig(cfg, func(o *awscloudtrail.Options) {
		o.Region = region
		o.Retryer = aws.NopRetryer{}
		o.RetryMaxAttempts = 1
		o.HTTPClient = bodyGuard{o.HTTPClient, raw}
	})
}

var (
	errNoPage   = errors.New("the response holds no page of events")
	errNoAnswer = fmt.Errorf("no answer within %s", requestTimeout)
)

// input returns the parameters of the walk's next request.
func (w *walk) input(pageSize int, f Filter) *awscloudtrail.LookupEventsInput {
	in := &awscloudtrail.LookupEventsInput{
		StartTime:  aws.Time(w.from),
		EndTime:    aws.Time(w.to),
		MaxResults: aws.Int32(int32(pageSize)),
	}
	if w.nextToken != "" {
		in.NextToken = aws.String(w.nextToken)
	}
	if f != (Filter{}) {
		in.LookupAttributes = []types.LookupAttribute{{
			AttributeKey:   types.LookupAttributeKey(f.Key),
			AttributeValue: aws.String(f.Value),
		}}
	}
	return in
}

// lookup makes one attempt of one request and maps what it returns.
func lookup(ctx context.Context, client LookupEventsAPIClient, in *awscloudtrail.LookupEventsInput, mapping func(types.Event) CloudResource) (records []CloudResource, next string, err error) {
	attempt, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	out, err := client.LookupEvents(attempt, in)
	if err != nil {
		if ctx.Err() == nil && attempt.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(attempt), err)
		}
		return nil, "", err
	}
	if out == nil { // a stub's
		return nil, "", errNoPage
	}
	records = make([]CloudResource, len(out.Events))
	for i, e := range out.Events {
		records[i] = mapping(e)
	}
	return records, aws.ToString(out.NextToken), nil
}
