package cloudtrail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

var testPartition = Partition{AccountID: "111122223333", Region: "eu-south-1"}

func operation(service, name string, err error) error {
	return &smithy.OperationError{ServiceID: service, OperationName: name, Err: err}
}

func TestHints(t *testing.T) {
	api := func(code, message string) error { return &smithy.GenericAPIError{Code: code, Message: message} }
	status := func(n int) error {
		return &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: n}}, Err: errors.New("no JSON")}
	}
	lookup := func(err error) error { return operation("CloudTrail", "LookupEvents", err) }
	assume := func(err error) error {
		return lookup(fmt.Errorf("get credentials: role 1 of 1: %w", operation("STS", "AssumeRole", err)))
	}
	tests := map[string]struct {
		err  error
		op   string
		hint string
	}{
		"denied":            {lookup(api("AccessDeniedException", "")), "LookupEvents", "cloudtrail:LookupEvents"},
		"denied by policy":  {lookup(api("AccessDenied", "… with an explicit deny in a service control policy")), "LookupEvents", "service control policy"},
		"key or Region":     {lookup(api("UnrecognizedClientException", "")), "LookupEvents", "Region is not enabled"},
		"token id":          {assume(api("InvalidClientTokenId", "")), "AssumeRole", "access key is wrong"},
		"signature":         {lookup(api("InvalidSignatureException", "")), "LookupEvents", "clock"},
		"STS signature":     {assume(api("SignatureDoesNotMatch", "")), "AssumeRole", "secret access key is wrong"},
		"expired":           {lookup(api("ExpiredTokenException", "")), "LookupEvents", "session is over"},
		"throttled":         {lookup(api("ThrottlingException", "")), "LookupEvents", "quota"},
		"STS throttled":     {assume(api("Throttling", "")), "AssumeRole", "later"},
		"not assumable":     {assume(api("AccessDenied", "")), "AssumeRole", "trust policy"},
		"session too long":  {assume(api("ValidationError", "")), "AssumeRole", "session duration"},
		"STS off":           {assume(api("RegionDisabledException", "")), "AssumeRole", "DefaultRegion"},
		"filter":            {lookup(api("InvalidLookupAttributesException", "")), "LookupEvents", "filter"},
		"AWS down":          {lookup(api("InternalFailure", "")), "LookupEvents", "trouble"},
		"502":               {lookup(status(502)), "LookupEvents", "overloaded"},
		"proxy":             {lookup(status(407)), "LookupEvents", "proxy"},
		"no such host":      {lookup(&net.OpError{Op: "dial", Err: &net.DNSError{}}), "LookupEvents", "available in the Region"},
		"refused":           {assume(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), "AssumeRole", "no connection to STS"},
		"timeout":           {lookup(context.DeadlineExceeded), "LookupEvents", "no answer in time"},
		"given up":          {lookup(context.Canceled), "LookupEvents", "check the network"},
		"no credentials":    {&credentialsError{operation("ec2imds", "GetMetadata", &net.DNSError{})}, "GetCredentials", "no usable credentials"},
		"code without hint": {lookup(api("SomethingNew", "")), "LookupEvents", "look the code up"},
		"bare status":       {lookup(api("UnknownError", "")), "LookupEvents", "check the network"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			op := "LookupEvents"
			if tt.op == "GetCredentials" {
				op = tt.op
			}
			e := newPartitionError(testPartition, op, tt.err)
			assert.Equal(t, tt.op, e.Op)
			assert.Contains(t, e.Hint, tt.hint)
			assert.NotEmpty(t, e.Hint)
			assert.ErrorIs(t, e, tt.err)
			assert.ErrorContains(t, e, "cloudtrail: 111122223333/eu-south-1: "+tt.op+": ")
		})
	}
}

// Signature errors quote the request's headers, the session token among them.
func TestScrub(t *testing.T) {
	cause := &smithy.GenericAPIError{Code: "SignatureDoesNotMatch", Message: "The Canonical String should have been\n'POST\n/\n\nhost:sts.amazonaws.com\nx-amz-security-token:FwoGZXIvYXdzEPLANTED//==\n\nhost;x-amz-security-token'"}
	e := newPartitionError(testPartition, "LookupEvents", operation("STS", "AssumeRole", cause))
	assert.NotContains(t, e.Error(), "PLANTED")
	assert.NotContains(t, fmt.Sprintf("%+v", e.Err), "PLANTED")
	assert.ErrorContains(t, e, "host;x-amz-security-token'")
	assert.ErrorIs(t, e, cause)
}

func TestConfigError(t *testing.T) {
	var e error = &ConfigError{Field: "since", Reason: "is odd", cause: ErrInvalidToken}
	assert.EqualError(t, e, "cloudtrail: since: is odd")
	assert.ErrorIs(t, e, ErrInvalidToken)
	assert.NotErrorIs(t, &ConfigError{Field: "since"}, ErrInvalidToken)
}

// What a host stores of a sync that failed holds the token.
func TestResultAsJSON(t *testing.T) {
	fake := cloudtrailtest.New()
	fake.Account(cloudtrailtest.AccountID).Region("us-east-1").Deny("not you")
	c, err := New(t.Context(), Config{}, WithAWSConfig(fake.AWSConfig("us-east-1")))
	require.NoError(t, err)
	result, err := c.Sync(t.Context(), SyncOptions{}, discard)
	require.Error(t, err)
	text, err := json.Marshal(result)
	require.NoError(t, err)
	assert.Contains(t, string(text), result.Token.String())
	assert.Contains(t, string(text), "not you")
	assert.Contains(t, string(text), "AccessDeniedException")
}
