package cloudtrail

import (
	"errors"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Option is a Go value that New takes besides the Config. Of two that set the
// same, the later wins.
type Option func(*options)

type options struct {
	awsConfig *aws.Config
	client    func(Partition) LookupEventsAPIClient
	logger    *slog.Logger
	observer  Observer
	rate      float64 // requests per second, per partition
	raw       bool
}

// defaultLookupRate is the LookupEvents quota per account and Region, which AWS
// doesn't raise:
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html
const defaultLookupRate = 2.0

func newOptions(opts []Option) (*options, error) {
	o := &options{rate: defaultLookupRate}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	if !(o.rate > 0) { // NaN too
		return o, &ConfigError{Field: "LookupRate", Reason: "must be above 0"}
	}
	return o, nil
}

// WithAWSConfig starts from the host's configuration: HTTP client, endpoints,
// credentials, Region. Keys and Regions in Config win over it; credentials or
// a Region that it lacks come from the AWS default chains. Its retry settings
// are not used: the connector has its own (Config.MaxRetries).
func WithAWSConfig(cfg aws.Config) Option {
	return func(o *options) { cfg := cfg.Copy(); o.awsConfig = &cfg }
}

// WithClient has every partition read through a client of the host's own, a
// stub in a unit test say. No credentials, STS, environment or network are
// used then, so DefaultRegion or Regions must be set. Account ids come from the
// role ARNs and are otherwise empty. The function is called by every Sync for
// every partition; it and what it returns must be safe for concurrent use.
// Requests are paced, retried and, after a full page, split as those to AWS: a
// stub of many pages has to go by StartTime, EndTime and NextToken. To wait for
// no quota in a unit test add WithLookupRate(math.Inf(1)), or use
// testing/synctest.
func WithClient(client func(Partition) LookupEventsAPIClient) Option {
	return func(o *options) { o.client = client }
}

// WithLogger sets where warnings, skipped Regions (at level Info), retries and
// the SDK's messages (at level Debug) are logged. Default: discarded.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// WithObserver sets callbacks for requests, retries and progress.
func WithObserver(ob Observer) Option { return func(o *options) { o.observer = ob } }

// WithLookupRate sets how many requests per second each partition is read
// with. Default: AWS's quota, 2 per account and Region; less leaves some of it
// to others. +Inf: unpaced. New refuses 0 or less, and NaN, with a *ConfigError.
func WithLookupRate(perSecond float64) Option { return func(o *options) { o.rate = perSecond } }

// WithRawEvents fills CloudResource.Raw. Default: left empty.
func WithRawEvents() Option { return func(o *options) { o.raw = true } }

// Observer is told what a Sync does. Any field may be nil. The functions are
// called from several goroutines and must not block.
type Observer struct {
	Request  func(RequestInfo) // after each attempt
	Retry    func(RetryInfo)   // before each wait for another attempt
	Progress func(Progress)    // after each page that the handler has accepted, and when a partition is done
}

// RequestInfo describes one attempt of a request.
type RequestInfo struct {
	Partition Partition
	Attempt   int // from 1
	Events    int // how many came back
	Duration  time.Duration
	Err       error // why the attempt failed, or nil
}

// RetryInfo describes a failed attempt that is followed by another.
type RetryInfo struct {
	Partition Partition
	Attempt   int           // the one that failed, from 1
	Wait      time.Duration // the backoff; the wait for the quota comes on top
	Err       error
}

// Progress describes how far a partition is.
type Progress struct {
	Partition Partition
	Records   int     // handed over so far
	Pages     int     // handed over so far
	Covered   float64 // share of the time range delivered, 0 to 1
	Done      bool    // nothing more will come; Covered is below 1 if it failed or was skipped
}

// SyncOptions says what a Sync reads. The zero value reads the last 7 days.
type SyncOptions struct {
	// LookbackDays is how far back to read, in days, fractions allowed. Default
	// 7; more than the 90 that CloudTrail keeps reads 90. Negative, NaN or
	// infinite: *ConfigError. It limits only time that no sync has had in scope:
	// what an earlier sync left open is owed until it is read or 90 days old.
	LookbackDays float64

	// Since is the token of the sync before. It wins where it is more recent than
	// the lookback window; one that is older reaches no further back than that,
	// so give both for a re-read. Zero: there was none.
	Since SyncToken

	// Until is the end of the window, inclusive as at AWS. Zero, or in the
	// future: now. One before the lookback window or Since leaves nothing to read
	// but what an earlier sync left open.
	Until time.Time

	// Filter is applied by CloudTrail. Zero: every event.
	Filter Filter

	// Partitions restricts the sync to these (how several workers share one).
	// Empty: all. One that is not of the Connector: *ConfigError.
	Partitions []Partition
}

// Filter is one lookup attribute; CloudTrail honours a single one. Keys:
// EventId EventName EventSource ReadOnly Username ResourceType ResourceName
// AccessKeyId. The zero Filter passes every event. See
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupAttribute.html
type Filter struct {
	Key   string
	Value string // exactly this, 1 to 2000 characters; "true" or "false" for ReadOnly
}

var filterKeys = []string{"EventId", "EventName", "EventSource", "ReadOnly", "Username", "ResourceType", "ResourceName", "AccessKeyId"}

// String returns "Key=Value", or "" for the zero Filter.
func (f Filter) String() string {
	if f == (Filter{}) {
		return ""
	}
	return f.Key + "=" + f.Value
}

func (f Filter) validate() error {
	reason := ""
	switch {
	case f == (Filter{}):
		return nil
	case f.Key == "":
		reason = "has a value but no key: want one of " + strings.Join(filterKeys, ", ")
	case !slices.Contains(filterKeys, f.Key):
		reason = unknownReason("key", f.Key, filterKeys)
	case f.Value == "":
		reason = "has no value"
	case f.Key == "ReadOnly" && f.Value != "true" && f.Value != "false":
		reason = `wants "true" or "false" as the value of ReadOnly`
	case utf8.RuneCountInString(f.Value) > 2000:
		reason = "has a value of more than 2000 characters"
	default:
		return nil
	}
	return &ConfigError{Field: "Filter", Reason: reason}
}

// validate checks what needs neither clock nor connector.
func (o SyncOptions) validate() error {
	var errs []error
	if !(o.LookbackDays >= 0) || math.IsInf(o.LookbackDays, 0) {
		errs = append(errs, &ConfigError{Field: "LookbackDays", Reason: "must be a finite number of days, not negative"})
	}
	return errors.Join(append(errs, o.Filter.validate())...)
}

// ParseOperationOptions returns the SyncOptions that a host's string map
// describes. The keys, which are case-sensitive, are lookbackDays (a number
// above 0, default 7), since (a sync token, an RFC 3339 time or Unix
// milliseconds) and filter ("ReadOnly=false"). A key that is missing or empty
// is not given. The error joins a *ConfigError for every bad or unknown option,
// with Field set to its key; the one for since matches ErrInvalidToken too.
func ParseOperationOptions(m map[string]string) (SyncOptions, error) {
	var o SyncOptions
	var errs []error
	bad := func(key, reason string, cause error) {
		errs = append(errs, &ConfigError{Field: key, Reason: reason, cause: cause})
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v := strings.TrimSpace(m[k])
		switch {
		case !slices.Contains(optionKeys, k):
			bad(k, unknownReason("option", k, optionKeys), nil)
		case v == "":
		case k == "lookbackDays":
			days, err := strconv.ParseFloat(v, 64)
			if err != nil || !(days > 0) || math.IsInf(days, 0) {
				bad(k, "must be a number of days above 0", nil)
				continue
			}
			o.LookbackDays = days
		case k == "since":
			t, err := ParseSyncToken(v)
			if err != nil {
				bad(k, strings.TrimPrefix(err.Error(), "cloudtrail: "), err)
				continue
			}
			o.Since = t
		case k == "filter":
			key, value, ok := strings.Cut(v, "=")
			f := Filter{Key: strings.TrimSpace(key), Value: strings.TrimSpace(value)}
			if !ok {
				bad(k, `must be one Key=Value, such as "ReadOnly=false"`, nil)
			} else if err, isBad := errors.AsType[*ConfigError](f.validate()); isBad {
				bad(k, err.Reason, nil)
			} else {
				o.Filter = f
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return SyncOptions{}, err
	}
	return o, nil
}

var optionKeys = []string{"lookbackDays", "since", "filter"}

// unknownReason says that a key is unknown and which known one was probably
// meant.
func unknownReason(kind, key string, known []string) string {
	squeeze := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '_' || r == '-' || r == ' ' || r == '.' {
				return -1
			}
			return r
		}, strings.ToLower(s))
	}
	for _, k := range known {
		if squeeze(k) == squeeze(key) {
			return "unknown " + kind + ": write " + strconv.Quote(k)
		}
	}
	best, least := "", 3 // more slips than two are another word
	if len(key) <= 64 {
		for _, k := range known {
			if d := distance(squeeze(k), squeeze(key)); d < least {
				best, least = k, d
			}
		}
	}
	if best != "" {
		return "unknown " + kind + ": did you mean " + strconv.Quote(best) + "?"
	}
	return "unknown " + kind + ": known are " + strings.Join(known, ", ")
}

// distance is the Levenshtein distance of two short texts.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
