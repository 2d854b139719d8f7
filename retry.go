package cloudtrail

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

// failure says what to do about a failed attempt.
type failure int

const (
	fatal     failure = iota // permission, validation, wrong key: another attempt changes nothing
	transient                // another attempt, after a backoff
	throttled                // the same, and slower from here on
	expired                  // another attempt, with renewed credentials
	stale                    // the NextToken is of no use any more: replay the rest of the window
)

// transientCodes are the codes that the SDK's own lists lack: some services
// send them with status 400. The last three are a clock or a proxy that held
// the request for too long.
var transientCodes = map[string]bool{
	"InternalError": true, "InternalFailure": true, "InternalServerError": true, "InternalServerException": true,
	"InternalServiceError": true, "InternalServiceErrorException": true, "InternalServiceException": true,
	"ServiceUnavailable": true, "ServiceUnavailableException": true, "IDPCommunicationError": true,
	"RequestExpired": true, "RequestInTheFuture": true, "RequestTimeTooSkewed": true,
}

// classify goes by error code and status alone: from v1.61 of the CloudTrail
// client on the Go types of the same errors differ.
func classify(err error) failure {
	var api smithy.APIError
	if errors.As(err, &api) {
		code := api.ErrorCode()
		switch {
		case code == "InvalidNextTokenException":
			return stale
		case code == "ExpiredTokenException", code == "ExpiredToken":
			return expired
		case isIn(retry.DefaultThrottleErrorCodes, code):
			return throttled
		case isIn(retry.DefaultRetryableErrorCodes, code), transientCodes[code], isClock(api):
			return transient
		}
	}
	var response interface{ HTTPStatusCode() int }
	if errors.As(err, &response) {
		switch status := response.HTTPStatusCode(); {
		case status == http.StatusTooManyRequests:
			return throttled
		case status == http.StatusRequestTimeout, status >= 500, status > 0 && status < 300:
			return transient // a 200 that failed has a body that can't be read
		case status > 0:
			return fatal
		}
	}
	if api != nil && api.ErrorCode() != "" && api.ErrorFault() != smithy.FaultServer {
		return fatal
	}
	return transient // the connection, or a timeout
}

// isClock reports a signature whose date is off. The SDK's client has learned by
// how much from the answer, so that the next attempt carries the right date.
func isClock(err smithy.APIError) bool {
	switch err.ErrorCode() {
	case "InvalidSignatureException", "SignatureDoesNotMatch":
		return strings.Contains(err.ErrorMessage(), "Signature expired") || strings.Contains(err.ErrorMessage(), "Signature not yet current")
	}
	return false
}

func isIn(set map[string]struct{}, code string) bool { _, ok := set[code]; return ok }

const (
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 20 * time.Second
)

// backoff returns how long to wait after the given attempt (from 1) failed:
// exponential with full jitter, so that clients that failed together don't
// come back together.
func backoff(attempt int) time.Duration {
	limit := maxBackoff
	if attempt < 7 { // 0.5 s × 2⁶ is over the limit
		limit = min(limit, firstBackoff<<(attempt-1))
	}
	return rand.N(limit)
}

// retrying calls f until it succeeds, fails for good, or was attempted the
// given number of times. It is for the calls that aren't paced: STS.
func retrying(ctx context.Context, attempts int, f func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := f(ctx)
		if err == nil || attempt >= attempts || ctx.Err() != nil {
			return err
		}
		if c := classify(err); c != transient && c != throttled {
			return err
		}
		select {
		case <-time.After(backoff(attempt)):
		case <-ctx.Done():
			return err
		}
	}
}

// Why a Region refuses its first request, where the Regions are a guess.

func isAccessDenied(err error) bool {
	switch errorCode(err) {
	case "AccessDenied", "AccessDeniedException":
		return true
	}
	return false
}

// isPolicyDeny reports a service control policy. Only the text tells it from
// any other denial.
func isPolicyDeny(err error) bool {
	return isAccessDenied(err) && strings.Contains(err.Error(), "service control policy")
}

// isUnknownKey reports what a Region that isn't enabled answers, and any Region
// to a wrong key.
func isUnknownKey(err error) bool {
	switch errorCode(err) {
	case "UnrecognizedClientException", "InvalidClientTokenId", "OptInRequired":
		return true
	}
	return false
}

func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
