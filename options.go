package cloudtrail

import (
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Option is a Go value that New takes besides the Config.
type Option func(*options)

type options struct {
	awsConfig *aws.Config
	client    func(Partition) LookupEventsAPIClient
	logger    *slog.Logger
	observer  Observer
	rate      float64 // requests per second, per partition
	raw       bool
}

// WithAWSConfig starts from the host's configuration: HTTP client, endpoints,
// credentials, Region. Keys and Regions in Config win over it.
func WithAWSConfig(cfg aws.Config) Option {
	return func(o *options) { cfg = cfg.Copy(); o.awsConfig = &cfg }
}

// WithClient has every partition read through a client of the host's own, a
// stub in a unit test say. No credentials, STS, environment or network are
// used then, so DefaultRegion or Regions must be set.
func WithClient(client func(Partition) LookupEventsAPIClient) Option {
	return func(o *options) { o.client = client }
}

// WithLogger sets where warnings and progress are logged. Default: discarded.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// WithObserver sets callbacks for requests, retries and progress.
func WithObserver(ob Observer) Option { return func(o *options) { o.observer = ob } }

// WithLookupRate sets how many requests per second each partition is read
// with. Default: AWS's quota, 2 per account and Region. +Inf: unpaced.
func WithLookupRate(perSecond float64) Option { return func(o *options) { o.rate = perSecond } }

// WithRawEvents fills CloudResource.Raw.
func WithRawEvents() Option { return func(o *options) { o.raw = true } }

// Observer is told what a Sync does. Any field may be nil. The functions are
// called from several goroutines and must not block.
type Observer struct {
	Request  func(RequestInfo) // after each attempt
	Retry    func(RetryInfo)   // before each wait for another attempt
	Progress func(Progress)
}

// RequestInfo describes one attempt of a request.
type RequestInfo struct {
	Partition       Partition
	Attempt, Events int // Attempt counts from 1
	Duration        time.Duration
	Err             error
}

// RetryInfo describes a failed attempt that is followed by another.
type RetryInfo struct {
	Partition Partition
	Attempt   int // the one that failed, from 1
	Wait      time.Duration
	Err       error
}

// Progress describes how far a partition is.
type Progress struct {
	Partition      Partition
	Records, Pages int
	Covered        float64 // share of the time range delivered, 0 to 1
	Done           bool
}

// SyncOptions says what a Sync reads. The zero value reads the last 7 days.
type SyncOptions struct {
	LookbackDays float64     // default 7; at most the 90 days that CloudTrail keeps
	Since        SyncToken   // wins where it is more recent than the lookback window
	Until        time.Time   // end of the window, inclusive as at AWS; zero: now
	Filter       Filter      // one attribute, applied by CloudTrail: {Key: "ReadOnly", Value: "false"}
	Partitions   []Partition // only these; empty: all (how several workers share one sync)
}

// Filter is one lookup attribute. CloudTrail honours a single one. Keys:
// EventId EventName EventSource ReadOnly Username ResourceType ResourceName
// AccessKeyId. The zero Filter passes every event.
type Filter struct{ Key, Value string }

// ParseOperationOptions returns the SyncOptions that a host's string map
// describes: lookbackDays, since, filter ("ReadOnly=false").
func ParseOperationOptions(m map[string]string) (SyncOptions, error) { panic("not yet") }
