package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudtrail-connector/cloudtrail"
)

// The protocol's failure types: who has to do something about it.
const (
	configError    = "config_error"    // the user
	transientError = "transient_error" // nobody: the next attempt may do
	systemError    = "system_error"    // whoever keeps this source
)

// failure is one cause for which a command fails.
type failure struct {
	kind     string
	message  string // for the user
	internal string // the error itself
	ofStream bool   // it concerns the stream's data, not the whole command
}

// failures returns the causes in err, none if it is nil. What fails in many
// accounts and Regions alike is one cause.
func failures(err error) []failure {
	var found []failure
	var alike [][]*cloudtrail.PartitionError
	for _, err := range flatten(err) {
		partition, isPartition := errors.AsType[*cloudtrail.PartitionError](err)
		if !isPartition {
			found = append(found, commandFailure(err))
			continue
		}
		i := slices.IndexFunc(alike, func(group []*cloudtrail.PartitionError) bool { return cause(group[0]) == cause(partition) })
		if i < 0 {
			alike = append(alike, []*cloudtrail.PartitionError{partition})
			continue
		}
		alike[i] = append(alike[i], partition)
	}
	for _, group := range alike {
		found = append(found, partitionFailure(group))
	}
	return found
}

// flatten returns the errors that err joins. The error for a state also wraps
// several, but is one.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case !ok || errors.Is(err, cloudtrail.ErrInvalidToken):
		return []error{err}
	}
	var errs []error
	for _, err := range joined.Unwrap() {
		errs = append(errs, flatten(err)...)
	}
	return errs
}

// commandFailure is for what isn't about one account and Region.
func commandFailure(err error) failure {
	f := failure{kind: systemError, message: err.Error()}
	setting, isSetting := errors.AsType[*cloudtrail.ConfigError](err)
	switch {
	case isSetting:
		f.kind, f.message = configError, setting.Field+" "+setting.Reason
	case errors.Is(err, cloudtrail.ErrInvalidToken):
		f.kind, f.message = configError, "The stream's state can't be used: it is damaged or was made with another filter. Clear it, and the stream is read again from the start."
		f.internal = err.Error()
	case errors.Is(err, context.Canceled):
		f.kind, f.message = transientError, "The command was interrupted. The next sync goes on from the last state."
	}
	return f
}

// cause is equal for partitions that fail for the same reason. The errors'
// texts aren't: they have request ids.
func cause(p *cloudtrail.PartitionError) string {
	return strings.Join([]string{p.Op, errorCode(p), p.Hint, p.Partition.RoleARN}, "\n")
}

func partitionFailure(group []*cloudtrail.PartitionError) failure {
	const most = 5
	var where []string
	for i, p := range group {
		if i == most {
			where = append(where, fmt.Sprintf("%d more", len(group)-most))
			break
		}
		where = append(where, p.Partition.String())
	}
	first := group[0]
	f := failure{kind: kind(first), internal: first.Error(), ofStream: true}
	f.message = first.Op + " failed for " + strings.Join(where, ", ")
	if first.Partition.RoleARN != "" {
		f.message += " with role " + first.Partition.RoleARN
	}
	code := errorCode(first)
	if code != "" {
		f.message += ": " + code
	}
	if first.Hint != "" {
		f.message += ": " + first.Hint
	}
	if code == "" && first.Hint == "" {
		f.message += ": " + first.Err.Error()
	}
	return f
}

// errorCode returns AWS's code, which is all that is stable of its errors.
func errorCode(err error) string {
	coded, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err)
	if !ok {
		return ""
	}
	return coded.ErrorCode()
}

// The codes that only somebody who changes keys, policies or settings mends.
var configCodes = []string{
	"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedAccess", "NotAuthorized",
	"UnrecognizedClientException", "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException",
	"InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException",
	"ValidationError", "RegionDisabledException", "OptInRequired", "SubscriptionRequiredException",
	"InvalidLookupAttributesException",
}

// kind tells whose failure it is. The library has retried what is worth a
// retry, but doesn't say which that was.
func kind(p *cloudtrail.PartitionError) string {
	code := errorCode(p)
	status, answered := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](error(p))
	switch {
	case slices.Contains(configCodes, code),
		p.Partition.Region == "all", // every Region was skipped
		strings.HasPrefix(p.Hint, "no usable credentials"):
		return configError
	case code == "", // AWS wasn't reached, or broke off
		answered && (status.HTTPStatusCode() >= 500 || status.HTTPStatusCode() == 429),
		strings.Contains(code, "Throttl"), strings.Contains(code, "Unavailable"), strings.Contains(code, "LimitExceeded"):
		return transientError
	}
	return systemError
}
