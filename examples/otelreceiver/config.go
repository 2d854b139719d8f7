package otelreceiver

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configopaque"
)

// Config is the receiver's part of the Collector's configuration. What the
// connector's settings mean, their defaults and limits are those of
// cloudtrail.Config and cloudtrail.SyncOptions; a setting that is left out has
// its default there.
type Config struct {
	AccessKeyID      string              `mapstructure:"access_key_id"`
	SecretAccessKey  configopaque.String `mapstructure:"secret_access_key"`
	SessionToken     configopaque.String `mapstructure:"session_token"`
	DefaultRegion    string              `mapstructure:"default_region"`
	Regions          []string            `mapstructure:"regions"`
	AssumeRoleARN    string              `mapstructure:"assume_role_arn"` // several: separated by commas
	AssumeRoleMode   string              `mapstructure:"assume_role_mode"`
	ExternalID       configopaque.String `mapstructure:"external_id"`
	RoleSessionName  string              `mapstructure:"role_session_name"`
	SessionDuration  time.Duration       `mapstructure:"session_duration"`
	PageSize         int                 `mapstructure:"page_size"`
	ParallelRequests int                 `mapstructure:"parallel_requests"`
	MaxRetries       int                 `mapstructure:"max_retries"`

	// LookbackDays is how far back the first sync reads, and Filter one attribute
	// ("ReadOnly=false") that CloudTrail applies. Every filter has a token of its
	// own in the storage.
	LookbackDays float64 `mapstructure:"lookback_days"`
	Filter       string  `mapstructure:"filter"`

	// RawEvents makes the whole event, as CloudTrail wrote it, the body of its log
	// record. Default: the body is the record as JSON.
	RawEvents bool `mapstructure:"raw_events"`

	// CollectionInterval is the time from the start of one sync to the start of
	// the next, which waits for the one before to end. Default 5 minutes.
	CollectionInterval time.Duration `mapstructure:"collection_interval"`

	// StorageID is the storage extension that keeps the sync token. Without one
	// every start of the Collector reads all of LookbackDays again.
	StorageID *component.ID `mapstructure:"storage"`
}

func createDefaultConfig() component.Config {
	return &Config{
		CollectionInterval: 5 * time.Minute,
		LookbackDays:       7, // said here so that a 0 in the file is refused, not taken for "not given"
	}
}

// Validate is called by the Collector before anything starts. Its error joins a
// *cloudtrail.ConfigError for every bad setting, with Field set to its name.
func (c *Config) Validate() error {
	_, connErr := c.connector()
	_, syncErr := c.syncOptions()
	errs := append(inYAML(connErr), inYAML(syncErr)...)
	if c.CollectionInterval <= 0 {
		errs = append(errs, &cloudtrail.ConfigError{Field: "collection_interval", Reason: "must be above 0"})
	}
	return errors.Join(errs...)
}

// connector returns the connector's own configuration. It goes by way of
// settings, which are checked without asking AWS or the environment.
func (c *Config) connector() (cloudtrail.Config, error) {
	return cloudtrail.ConfigFromSettings(map[string]string{
		"accessKeyId":      c.AccessKeyID,
		"secretAccessKey":  string(c.SecretAccessKey),
		"sessionToken":     string(c.SessionToken),
		"defaultRegion":    c.DefaultRegion,
		"regions":          strings.Join(c.Regions, ","),
		"assumeRoleArn":    c.AssumeRoleARN,
		"assumeRoleMode":   c.AssumeRoleMode,
		"externalId":       string(c.ExternalID),
		"roleSessionName":  c.RoleSessionName,
		"sessionDuration":  given(c.SessionDuration, strconv.FormatFloat(c.SessionDuration.Seconds(), 'f', -1, 64)),
		"pageSize":         given(c.PageSize, strconv.Itoa(c.PageSize)),
		"parallelRequests": given(c.ParallelRequests, strconv.Itoa(c.ParallelRequests)),
		"maxRetries":       given(c.MaxRetries, strconv.Itoa(c.MaxRetries)),
	})
}

func (c *Config) syncOptions() (cloudtrail.SyncOptions, error) {
	return cloudtrail.ParseOperationOptions(map[string]string{
		"lookbackDays": strconv.FormatFloat(c.LookbackDays, 'f', -1, 64),
		"filter":       c.Filter,
	})
}

// given returns text, or "", which is "not given", for a zero value.
func given[T cmp.Ordered](value T, text string) string {
	var zero T
	if value == zero {
		return ""
	}
	return text
}

// yamlNames turns the names that the connector has for its settings into those
// of the configuration file. The last ones are fields that New complains about.
var yamlNames = strings.NewReplacer(
	"accessKeyId", "access_key_id",
	"secretAccessKey", "secret_access_key",
	"sessionToken", "session_token",
	"defaultRegion", "default_region",
	"assumeRoleArn", "assume_role_arn",
	"assumeRoleMode", "assume_role_mode",
	"externalId", "external_id",
	"roleSessionName", "role_session_name",
	"sessionDuration", "session_duration",
	"pageSize", "page_size",
	"parallelRequests", "parallel_requests",
	"maxRetries", "max_retries",
	"lookbackDays", "lookback_days",
	"DefaultRegion", "default_region",
	"Regions", "regions",
)

// inYAML returns the errors that err joins, with the configuration file's names
// in every ConfigError.
func inYAML(err error) []error {
	errs := parts(err)
	for i, e := range errs {
		if bad, ok := errors.AsType[*cloudtrail.ConfigError](e); ok {
			errs[i] = &cloudtrail.ConfigError{Field: yamlNames.Replace(bad.Field), Reason: yamlNames.Replace(bad.Reason)}
		}
	}
	return errs
}

// parts returns the errors that err joins, each of which has a line of its own.
func parts(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		errs = append(errs, parts(e)...)
	}
	return errs
}
