package cloudtrailtest_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

var nothing = awscloudtrail.LookupEventsInput{}

// failures are the faults that answer nothing useful.
var failures = map[string]struct {
	fault     *cloudtrailtest.Fault
	json, xml string // codes
	text      string
}{
	"throttling":      {cloudtrailtest.Throttling(), "ThrottlingException", "Throttling", "Rate exceeded"},
	"error":           {cloudtrailtest.Error(400, "ServiceUnavailable", "later"), "ServiceUnavailable", "ServiceUnavailable", "later"},
	"500":             {cloudtrailtest.Status(500), "", "", "StatusCode: 500"},
	"502":             {cloudtrailtest.Status(502), "", "", "StatusCode: 502"},
	"bare 429":        {cloudtrailtest.Status(429), "", "", "StatusCode: 429"},
	"reset":           {cloudtrailtest.Reset(), "", "", "connection reset by peer"},
	"cut":             {cloudtrailtest.Cut(), "", "", "unexpected EOF"},
	"garbage":         {cloudtrailtest.Garbage(), "", "", "deserialization failed"},
	"expired session": {cloudtrailtest.ExpiredSession(), "ExpiredTokenException", "ExpiredToken", "expired"},
	"whole answer":    {cloudtrailtest.Answer(400, []byte(`<a`)), "", "", ""},
	"silence":         {cloudtrailtest.Silence(), "", "", "deadline exceeded"},
}

func TestFailures(t *testing.T) {
	check := func(t *testing.T, f *cloudtrailtest.Fake, cfg aws.Config) {
		f.Account(cloudtrailtest.AccountID).Region(region).Add(at("1", time.Hour))
		for name, test := range failures {
			f.SetFault(func(cloudtrailtest.Call) *cloudtrailtest.Fault { return test.fault })
			within := func() context.Context { // only silence needs an end
				if name != "silence" {
					return t.Context()
				}
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				t.Cleanup(cancel)
				return ctx
			}
			_, err := client(cfg).LookupEvents(within(), nil)
			_, stsErr := stsClient(cfg).GetCallerIdentity(within(), nil)
			assert.ErrorContains(t, err, test.text, name)
			assert.Error(t, stsErr, name)
			if test.json != "" {
				assert.Equal(t, test.json, code(err), name)
				assert.Equal(t, test.xml, code(stsErr), name)
			}
		}
		f.SetFault(nil)
		_, err := client(cfg).LookupEvents(t.Context(), nil)
		assert.NoError(t, err)
	}
	t.Run("RoundTrip", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, r := home()
			r.SetQuota(cloudtrailtest.Quota{Rate: 1e9})
			check(t, f, f.AWSConfig(region))
		})
	})
	t.Run("loopback", func(t *testing.T) {
		f, r := home()
		r.SetQuota(cloudtrailtest.Quota{Rate: 1e9})
		cfg := f.AWSConfig(region)
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		cfg.BaseEndpoint, cfg.HTTPClient = aws.String(f.Start(t)), &http.Client{Transport: transport}
		check(t, f, cfg)
	})
}

// An empty body passes for an empty page with the SDK: nothing is wrong, and
// nothing is there.
func TestEmptyBody(t *testing.T) {
	f, r := home()
	r.Add(at("1", time.Hour))
	f.SetFault(func(cloudtrailtest.Call) *cloudtrailtest.Fault { return cloudtrailtest.EmptyBody() })
	out, err := client(f.AWSConfig(region)).LookupEvents(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, out.Events)
}

// page reads one page of ten.
func page(t *testing.T, c *awscloudtrail.Client, token *string) ([]string, *string, error) {
	t.Helper()
	out, err := c.LookupEvents(t.Context(), &awscloudtrail.LookupEventsInput{MaxResults: aws.Int32(10), NextToken: token})
	if err != nil {
		return nil, nil, err
	}
	return ids(out.Events), out.NextToken, nil
}

func TestTokenFaults(t *testing.T) {
	f, r := home()
	r.SetQuota(cloudtrailtest.Quota{Rate: 1e9})
	var want []string
	for i := range 25 {
		r.Add(at(fmt.Sprint(i), time.Duration(i)*time.Hour))
		want = append(want, fmt.Sprint(i))
	}
	c := client(f.AWSConfig(region))
	var fault *cloudtrailtest.Fault
	var calls []cloudtrailtest.Call
	f.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		calls = append(calls, c)
		return fault
	})
	_, first, err := page(t, c, nil)
	require.NoError(t, err)

	fault = cloudtrailtest.StaleToken()
	_, _, err = page(t, c, first)
	assert.Equal(t, "InvalidNextTokenException", code(err))

	fault = cloudtrailtest.RepeatToken()
	got, token, err := page(t, c, first)
	require.NoError(t, err)
	assert.Equal(t, want[10:20], got)
	assert.Equal(t, first, token)

	fault = cloudtrailtest.EmptyPage()
	got, token, err = page(t, c, first)
	require.NoError(t, err)
	assert.Empty(t, got)
	require.NotNil(t, token)
	got, start, err := page(t, c, nil)
	require.NoError(t, err)
	assert.Empty(t, got)

	fault = cloudtrailtest.RepeatLast()
	got, token, err = page(t, c, token)
	require.NoError(t, err)
	assert.Equal(t, want[9:19], got, "the empty page's token goes on where it was, and the last event comes again")
	fault = nil
	got, _, err = page(t, c, token)
	require.NoError(t, err)
	assert.Equal(t, want[19:], got)
	got, _, err = page(t, c, start)
	require.NoError(t, err)
	assert.Equal(t, want[:10], got)

	for i, call := range calls {
		assert.Equal(t, i+1, call.N)
		assert.Equal(t, "LookupEvents", call.Action)
		assert.Equal(t, 10, call.Input.MaxResults)
	}
	assert.Equal(t, *first, calls[1].Input.NextToken)
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := home()
		r.SetLatency(func() time.Duration { return time.Second })
		f.SetFault(func(cloudtrailtest.Call) *cloudtrailtest.Fault { return cloudtrailtest.Slow(34 * time.Second) })
		start := time.Now()
		_, err := client(f.AWSConfig(region)).LookupEvents(t.Context(), nil)
		assert.NoError(t, err)
		assert.Equal(t, 35*time.Second, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = client(f.AWSConfig(region)).LookupEvents(ctx, nil)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 36*time.Second, time.Since(start))
	})
}

// The SDK reports the id of a refused request, for support cases.
func TestErrorsHaveRequestIDs(t *testing.T) {
	f, _ := home()
	f.SetFault(func(cloudtrailtest.Call) *cloudtrailtest.Fault {
		return cloudtrailtest.Error(503, "ServiceUnavailable", "x")
	})
	_, err := client(f.AWSConfig(region)).LookupEvents(t.Context(), nil)
	var withID interface{ ServiceRequestID() string }
	require.ErrorAs(t, err, &withID)
	assert.Len(t, withID.ServiceRequestID(), 36)
	var api smithy.APIError
	require.ErrorAs(t, err, &api)
}
