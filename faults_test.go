package cloudtrail

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// transientFaults are worth another attempt. stub is what a stubbed client
// returns for the same.
var transientFaults = map[string]struct {
	fault func() *cloudtrailtest.Fault
	stub  error
}{
	"throttling":      {cloudtrailtest.Throttling, &types.ThrottlingException{}},
	"500":             {status(500), bare(500)},
	"502":             {status(502), bare(502)},
	"503":             {status(503), bare(503)},
	"504":             {status(504), bare(504)},
	"429":             {status(429), bare(429)},
	"unavailable":     {apiFault(400, "ServiceUnavailable"), &smithy.GenericAPIError{Code: "ServiceUnavailable"}},
	"internal":        {apiFault(400, "InternalFailure"), &smithy.GenericAPIError{Code: "InternalFailure"}},
	"reset":           {cloudtrailtest.Reset, errors.New("connection reset by peer")},
	"cut":             {cloudtrailtest.Cut, io.ErrUnexpectedEOF},
	"garbage":         {cloudtrailtest.Garbage, &smithy.DeserializationError{Err: errors.New("garbage")}},
	"empty body":      {cloudtrailtest.EmptyBody, nil}, // and no output
	"error in a 200":  {apiFault(200, "InternalFailure"), nil},
	"silence":         {cloudtrailtest.Silence, context.DeadlineExceeded},
	"request expired": {apiFault(400, "RequestExpired"), &smithy.GenericAPIError{Code: "RequestExpired"}},
}

// fatalFaults are not.
var fatalFaults = map[string]struct {
	fault func() *cloudtrailtest.Fault
	stub  error
}{
	"access denied": {apiFault(400, "AccessDeniedException"), &smithy.GenericAPIError{Code: "AccessDeniedException"}},
	"denied 403":    {apiFault(403, "AccessDeniedException"), bare(403)},
	"validation":    {apiFault(400, "ValidationException"), &smithy.GenericAPIError{Code: "ValidationException"}},
	"time range":    {apiFault(400, "InvalidTimeRangeException"), &types.InvalidTimeRangeException{}},
	"attributes":    {apiFault(400, "InvalidLookupAttributesException"), &types.InvalidLookupAttributesException{}},
	"max results":   {apiFault(400, "InvalidMaxResultsException"), &types.InvalidMaxResultsException{}},
	"unknown key":   {apiFault(400, "UnrecognizedClientException"), &smithy.GenericAPIError{Code: "UnrecognizedClientException"}},
	"unknown":       {apiFault(400, "SomethingNew"), &smithy.GenericAPIError{Code: "SomethingNew", Fault: smithy.FaultClient}},
	"400":           {status(400), bare(400)},
	"moved":         {status(301), bare(301)},
}

func status(code int) func() *cloudtrailtest.Fault {
	return func() *cloudtrailtest.Fault { return cloudtrailtest.Status(code) }
}

func apiFault(status int, code string) func() *cloudtrailtest.Fault {
	return func() *cloudtrailtest.Fault { return cloudtrailtest.Error(status, code, "because") }
}

// bare is the SDK's error for an answer with nothing but a status.
func bare(status int) error {
	return &smithy.OperationError{ServiceID: "CloudTrail", OperationName: "LookupEvents", Err: &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: errors.New(http.StatusText(status))}}}
}

// A fault that lasts: exactly MaxRetries attempts at one request, every one in
// its turn, and the next sync brings the rest. AWS_MAX_ATTEMPTS changes nothing.
func TestAttemptsAreExact(t *testing.T) {
	for name, f := range transientFaults {
		for _, attempts := range []int{1, 2, 4, 10} {
			t.Run(name+"/"+strconv.Itoa(attempts), func(t *testing.T) {
				isolateAWS(t)
				t.Setenv("AWS_MAX_ATTEMPTS", "3")
				t.Setenv("AWS_RETRY_MODE", "adaptive")
				synctest.Test(t, func(t *testing.T) { testAttempts(t, attempts, f.fault) })
			})
		}
	}
}

func testAttempts(t *testing.T, attempts int, fault func() *cloudtrailtest.Fault) {
	const good = 2 // requests before the fault
	fake := cloudtrailtest.New()
	history := week(430)
	fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetHistory(history)
	// As a host loads it, with the retries that the environment asks for.
	host, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"), config.WithHTTPClient(&http.Client{Transport: fake}), config.WithLogger(logging.Nop{}),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(cloudtrailtest.AccessKeyID, cloudtrailtest.SecretAccessKey, "")))
	require.NoError(t, err)
	require.Equal(t, 3, host.RetryMaxAttempts)
	// One slot, or a silent request would be split meanwhile.
	c, err := New(t.Context(), Config{MaxRetries: attempts, ParallelRequests: 1}, WithAWSConfig(host))
	require.NoError(t, err)
	broken := true
	requests := record(fake, func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		if broken && c.Service == "cloudtrail" && c.N > good {
			return fault()
		}
		return nil
	})
	var got counter
	res, err := c.Sync(t.Context(), SyncOptions{}, got.handle)
	var failed *PartitionError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, res.Partitions[0].Partition, failed.Partition)
	made := requests.take()
	require.Len(t, made, good+attempts)
	requirePaced(t, made, time.Second/2)
	p := res.Partitions[0]
	require.Equal(t, good+attempts, p.Requests)
	require.Equal(t, attempts-1, p.Retries)
	require.False(t, p.Complete)
	got.requireOnce(t, good*50)

	broken = false
	rest := counter{}
	res, err = c.Sync(t.Context(), SyncOptions{Since: again(t, res.Token)}, rest.handle)
	require.NoError(t, err)
	require.True(t, res.Partitions[0].Complete)
	requirePaced(t, requests.take(), time.Second/2)
	for id, n := range rest.seen {
		got.seen[id] += n
	}
	got.requireSeen(t, ids("111122223333/us-east-1", history, nil))
	require.LessOrEqual(t, res.Records, 430-good*50+5, "no more than what was left, the frontier and the overlap")
}

// A fault that ends with the last attempt costs nothing but time.
func TestFaultsThatEnd(t *testing.T) {
	for name, f := range transientFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const attempts = 3
				fake := cloudtrailtest.New()
				fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetHistory(week(1000))
				fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetLatency(always(time.Second)) // so that there are splits
				seen := map[[3]string]int{}
				requests := record(fake, func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
					key := [3]string{c.Input.StartTime.String(), c.Input.EndTime.String(), c.Input.NextToken}
					if seen[key]++; c.Service == "cloudtrail" && seen[key] < attempts {
						return f.fault()
					}
					return nil
				})
				retries := atomic.Int64{}
				c := connect(t, fake, Config{MaxRetries: attempts}, WithObserver(Observer{Retry: func(RetryInfo) { retries.Add(1) }}))
				var got counter
				res, err := c.Sync(t.Context(), SyncOptions{}, got.handle)
				require.NoError(t, err)
				got.requireOnce(t, 1000)
				p := res.Partitions[0]
				require.True(t, p.Complete)
				require.EqualValues(t, retries.Load(), p.Retries)
				require.GreaterOrEqual(t, p.Retries, 20*(attempts-1))
				require.Equal(t, p.Requests, attempts*(p.Requests-p.Retries))
				requirePaced(t, requests.take(), time.Second/2)
			})
		})
	}
}

// What another attempt can't change gets none.
func TestFatalErrorsGetOneAttempt(t *testing.T) {
	for name, f := range fatalFaults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := cloudtrailtest.New()
				fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetHistory(week(300))
				requests := record(fake, func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
					if c.Service == "cloudtrail" && c.N > 2 {
						return f.fault()
					}
					return nil
				})
				var got counter
				res, err := connect(t, fake, Config{}).Sync(t.Context(), SyncOptions{}, got.handle)
				require.Error(t, err)
				require.Len(t, requests.take(), 3)
				require.Zero(t, res.Partitions[0].Retries)
				got.requireOnce(t, 100)
			})
		})
	}
}

// The same with a stubbed client, in which no SDK lies between: the second page
// fails a number of times, the third is the last.
func TestStubbedFaults(t *testing.T) {
	const lasting = 1000
	run := func(t *testing.T, failure error, times, attempts, want int) {
		synctest.Test(t, func(t *testing.T) {
			s := &stub{}
			failures := 0
			s.lookup = func(in *awscloudtrail.LookupEventsInput) (*awscloudtrail.LookupEventsOutput, error) {
				page := cmp.Or(aws.ToString(in.NextToken), "1")
				if page == "2" && failures < times {
					failures++
					return nil, failure
				}
				out := &awscloudtrail.LookupEventsOutput{Events: []types.Event{{EventId: &page, EventTime: aws.Time(time.Now().Add(-time.Hour))}}}
				if page < "3" {
					out.NextToken = aws.String(string(page[0] + 1))
				}
				return out, nil
			}
			c, err := New(t.Context(), Config{DefaultRegion: "us-east-1", MaxRetries: attempts}, WithClient(func(Partition) LookupEventsAPIClient { return s }))
			require.NoError(t, err)
			var got counter
			res, err := c.Sync(t.Context(), SyncOptions{}, got.handle)
			require.EqualValues(t, want, s.requests.Load())
			require.Equal(t, want, res.Partitions[0].Requests)
			if times == lasting {
				var failed *PartitionError
				require.ErrorAs(t, err, &failed)
				got.requireOnce(t, 1)
				return
			}
			require.NoError(t, err)
			got.requireOnce(t, 3)
		})
	}
	for name, f := range transientFaults {
		t.Run(name, func(t *testing.T) { run(t, f.stub, lasting, 5, 1+5) })
		t.Run(name+", ends", func(t *testing.T) { run(t, f.stub, 4, 5, 3+4) })
	}
	for name, f := range fatalFaults {
		t.Run(name, func(t *testing.T) { run(t, f.stub, lasting, 5, 1+1) })
	}
	t.Run("expired", func(t *testing.T) { run(t, &smithy.GenericAPIError{Code: "ExpiredTokenException"}, lasting, 5, 1+2) })
}

// An expired session is renewed once per request, in the middle of a sync too.
func TestExpiredSession(t *testing.T) {
	for name, c := range map[string]struct {
		expired  int // of the attempts at the third request
		requests int
		sts      int // AssumeRole
	}{
		"renewed":  {1, 7, 2},
		"for good": {100, 4, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := cloudtrailtest.New()
				role := fake.Account(accountB).AddRole(cloudtrailtest.Role{Name: "reader"})
				fake.Account(accountB).Region("us-east-1").SetHistory(week(300))
				requests := record(fake, func(call cloudtrailtest.Call) *cloudtrailtest.Fault {
					if call.Service == "cloudtrail" && call.N > 2 && call.N <= 2+c.expired {
						return cloudtrailtest.ExpiredSession()
					}
					return nil
				})
				var got counter
				res, err := connect(t, fake, Config{AssumeRoleARN: role}).Sync(t.Context(), SyncOptions{}, got.handle)
				made := requests.take()
				require.Len(t, made, c.requests)
				requirePaced(t, made, time.Second/2)
				require.Equal(t, c.sts, fake.Stats().STS["AssumeRole"])
				if c.expired > 1 {
					require.ErrorContains(t, err, "ExpiredToken")
					got.requireOnce(t, 100)
					return
				}
				require.NoError(t, err)
				require.Equal(t, 1, res.Partitions[0].Retries)
				got.requireOnce(t, 300)
			})
		})
	}
}

// The SDK takes every 2xx for a success: without a body none of them is a page.
func TestSuccessWithoutBody(t *testing.T) {
	for _, status := range []int{200, 201, 202, 204} {
		synctest.Test(t, func(t *testing.T) {
			fake := cloudtrailtest.New()
			fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetHistory(week(10))
			fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
				if c.Service == "cloudtrail" && c.N == 1 {
					return cloudtrailtest.Answer(status, nil)
				}
				return nil
			})
			c, err := New(t.Context(), Config{}, WithAWSConfig(fake.AWSConfig("us-east-1")))
			require.NoError(t, err)
			result, err := c.Sync(t.Context(), SyncOptions{}, discard)
			require.NoError(t, err)
			require.Equal(t, 10, result.Records, "%d", status)
			require.Equal(t, 2, result.Partitions[0].Requests)
		})
	}
}
