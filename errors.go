package cloudtrail

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

// ConfigError says what is wrong with one field of a Config, or one setting or
// option. It never holds a value, so never a secret. New, Sync and the parse
// functions join one for everything that is wrong; find them with errors.As.
type ConfigError struct {
	Field  string // the settings key, the Config field or the option
	Reason string

	cause error
}

// Error returns "cloudtrail: Field: Reason".
func (e *ConfigError) Error() string { return "cloudtrail: " + e.Field + ": " + e.Reason }

// Unwrap returns what the field's own parser said, or nil; for a sync token it
// matches ErrInvalidToken.
func (e *ConfigError) Unwrap() error { return e.cause }

// PartitionError says why one partition could not be read, and what to do
// about it.
type PartitionError struct {
	Partition Partition
	Op        string // the AWS operation that failed: "LookupEvents", "AssumeRole", …
	Err       error  // find the AWS error code with errors.As and smithy.APIError
	Hint      string // likely causes, for a person
}

// Error names the account and Region, what failed, the AWS error and the hint.
func (e *PartitionError) Error() string {
	s := "cloudtrail: " + e.Partition.String() + ": " + e.Op + ": " + e.Err.Error()
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns Err.
func (e *PartitionError) Unwrap() error { return e.Err }

// MarshalJSON writes what Error says. The SDK's errors hold requests, which JSON
// can't, and a SyncResult that can't be logged as JSON would be a token lost. It
// can't be read back.
func (e *PartitionError) MarshalJSON() ([]byte, error) { return json.Marshal(e.Error()) }

// newPartitionError explains err, which op met while it was to read p. Where a
// call to STS is what failed inside op, Op is that call.
func newPartitionError(p Partition, op string, err error) *PartitionError {
	if sts, ok := stsOperation(err); ok {
		op = sts
	}
	return &PartitionError{Partition: p, Op: op, Err: scrub(err), Hint: hint(op, err)}
}

// stsOperation returns the innermost call to STS in err, if there is one.
func stsOperation(err error) (op string, ok bool) {
	var inner *smithy.OperationError
	for errors.As(err, &inner) {
		if inner.ServiceID == "STS" {
			op, ok = inner.OperationName, true
		}
		err = inner.Err
	}
	return op, ok
}

// hint says what is likely to be wrong. It goes by AWS error codes only: types
// and texts change with the SDK's version.
func hint(op string, err error) string {
	assume := op == "AssumeRole"
	code, message := "", ""
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	switch code {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedAccess", "NotAuthorized":
		switch {
		case strings.Contains(message, "service control policy"):
			return "a service control policy of the organization denies it here"
		case assume:
			return "check that the role exists, that its trust policy allows the caller, that the external id is the one it asks for, and that the caller may sts:AssumeRole it"
		case op == "LookupEvents":
			return "allow cloudtrail:LookupEvents in an IAM policy of these credentials"
		}
		return "allow the action in an IAM policy of these credentials"
	case "UnrecognizedClientException", "InvalidClientTokenId":
		return "the access key is wrong, deleted, of another AWS partition, or lacks its session token; or the Region is not enabled in the account"
	case "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException":
		return "the secret access key is wrong, or this machine's clock is"
	case "InvalidSignatureTime", "RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed":
		return "check this machine's clock"
	case "ExpiredToken", "ExpiredTokenException":
		return "the session is over: the base credentials, where temporary, have to be renewed by whoever issued them"
	case "IDPCommunicationError":
		return "STS could not reach the identity provider of the web identity token"
	case "RegionDisabledException":
		return "STS is not activated in this Region: set DefaultRegion to one where it is"
	case "ValidationError":
		if assume {
			return "check the role's ARN, and that the session duration is neither over the role's maximum nor, if the base credentials are a role's already, over 3600 seconds"
		}
	case "InvalidLookupAttributesException":
		return "check the filter"
	case "OptInRequired", "SubscriptionRequiredException":
		return "the account or Region is not activated for CloudTrail"
	}
	switch {
	case isIn(retry.DefaultThrottleErrorCodes, code) && op == "LookupEvents":
		return "somebody else uses the quota of 2 LookupEvents requests per second of this account and Region; the next sync goes on from here"
	case isIn(retry.DefaultThrottleErrorCodes, code):
		return "too many requests: try again later"
	case transientCodes[code]:
		return "AWS is in trouble: the next sync goes on from here"
	}
	if code != "" && code != unknownCode {
		return "look the code up in the API reference of " + op
	}
	return transportHint(op, err)
}

// unknownCode is what the SDK calls an error whose body names none.
const unknownCode = "UnknownError"

// transportHint is for failures that AWS didn't answer.
func transportHint(op string, err error) string {
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return "no usable credentials: set an access key, or AWS_ACCESS_KEY_ID or AWS_PROFILE, or run where there is an instance or task role"
	}
	service := "CloudTrail"
	if op == "AssumeRole" || op == "GetCallerIdentity" {
		service = "STS"
	}
	if status, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err); ok && status.HTTPStatusCode() >= 300 {
		if status.HTTPStatusCode() >= 500 || status.HTTPStatusCode() == 429 {
			return service + " or something before it is overloaded: the next sync goes on from here"
		}
		return "this is no answer of " + service + ": check the proxy and the endpoint"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "check the network and the endpoint, and that " + service + " is available in the Region"
	}
	if t, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && t.Timeout() {
		return service + " gave no answer in time: check network, proxy and firewall"
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return "no connection to " + service + ": check network, proxy, firewall and the endpoint"
	}
	if errors.Is(err, errSkipped) {
		return "no Region of the account can be read: check which are enabled and what the organization's policies deny"
	}
	if errors.Is(err, errCircle) {
		return "CloudTrail's paging is in trouble: the next sync goes on from here"
	}
	return "if it stays so, check the network, the proxy and the endpoint"
}

// errSkipped stands for an account of which no Region was read.
var errSkipped = errors.New("every Region was skipped")

// credentialsError says that the base credentials could not be retrieved.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "no credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// securityToken is how the headers of a request look where an answer quotes
// them, which signature errors of AWS do.
var securityToken = regexp.MustCompile(`(?i)(x-amz-security-token\s*[:=]\s*)[^\s'"&]+`)

// scrub takes session tokens out of an error's text.
func scrub(err error) error {
	text := err.Error()
	if clean := securityToken.ReplaceAllString(text, "${1}REDACTED"); clean != text {
		return &scrubbedError{clean, err}
	}
	return err
}

// scrubbedError can't be unwrapped to the text it stands for. What branches on
// it finds the same as before, an API error without the token.
type scrubbedError struct {
	text string
	err  error
}

func (e *scrubbedError) Error() string { return e.text }

func (e *scrubbedError) Is(target error) bool { return errors.Is(e.err, target) }

func (e *scrubbedError) As(target any) bool {
	if api, ok := target.(*smithy.APIError); ok {
		inner, ok := errors.AsType[smithy.APIError](e.err)
		if ok {
			*api = &smithy.GenericAPIError{
				Code:    inner.ErrorCode(),
				Message: securityToken.ReplaceAllString(inner.ErrorMessage(), "${1}REDACTED"),
				Fault:   inner.ErrorFault(),
			}
		}
		return ok
	}
	return errors.As(e.err, target)
}
