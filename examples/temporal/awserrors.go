package main

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"go.temporal.io/sdk/temporal"

	"github.com/cloudtrail-connector/cloudtrail"
)

// maxAttempts is how many attempts a partition gets that AWS doesn't serve. The
// library has attempted each request ten times by then; and a sync lasts as
// long as its slowest partition.
const maxAttempts = 3

// awsRetryDelay is how long an attempt waits that follows one which AWS did not
// serve.
const awsRetryDelay = 30 * time.Second

// explainAWS makes an application error whose type is the AWS error code and
// whose text ends with the hint. It isn't retried if no retry cures it.
func explainAWS(err *cloudtrail.PartitionError, attempt int32) error {
	kind := "Unreachable"
	var api smithy.APIError
	if errors.As(err, &api) {
		kind = cmp.Or(api.ErrorCode(), kind)
	}
	return temporal.NewApplicationErrorWithOptions(err.Error(), kind, temporal.ApplicationErrorOptions{
		NonRetryable:   attempt >= maxAttempts || !temporary(err),
		NextRetryDelay: awsRetryDelay,
	})
}

// temporary reports whether a later attempt may succeed without anybody doing
// something: throttling, trouble at AWS, and whatever carries no error code,
// which is the network's.
func temporary(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return true
	}
	return slices.Contains(troubleAtAWS, api.ErrorCode()) || retries.IsErrorRetryable(err) == aws.TrueTernary
}

// retries are the SDK's own lists of what is worth a retry.
var retries = retry.IsErrorRetryables(retry.DefaultRetryables)

// troubleAtAWS are codes that those lists leave to the HTTP status.
var troubleAtAWS = []string{
	"InternalError", "InternalFailure", "InternalServerError", "InternalServiceError", "InternalServiceException",
	"ServiceUnavailable", "ServiceUnavailableException", "RequestExpired",
}

// reason returns what a failed activity or workflow says of itself, without the
// layers that Temporal wraps around it.
func reason(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Message()
	}
	return err.Error()
}
