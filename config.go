package cloudtrail

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AssumeRoleMode says what a list of several roles means. With a single role
// RoleEach and RoleChain are the same.
type AssumeRoleMode string

const (
	RoleEach  AssumeRoleMode = "each"  // every listed role is assumed from the base credentials and synced
	RoleChain AssumeRoleMode = "chain" // each role is assumed with the one before it; the last one is synced
	RoleHub   AssumeRoleMode = "hub"   // the first role is assumed, every other one from it; only the others are synced
)

// Config is everything that a host could keep in a settings file. The zero
// value reads the account of the AWS default credential chain in its default
// Region. White space around values is ignored.
//
// fmt, log/slog and encoding/json show only whether the keys and the external
// id are set. fmt can't be kept from printing a Config raw where it never asks
// it: in an unexported field of another struct, and for the verbs that don't
// apply to a Config at all, %p and %w.
type Config struct {
	// AccessKeyID and SecretAccessKey are the base credentials, together with
	// SessionToken where they are temporary. Both empty: the AWS default
	// credential chain, or the credentials of WithAWSConfig.
	AccessKeyID, SecretAccessKey, SessionToken string

	// DefaultRegion is read when Regions is empty; it is also where STS is
	// called. Empty: the first of Regions; without any, or with {"all"}, that of
	// WithAWSConfig, the AWS default Region chain (AWS_REGION,
	// AWS_DEFAULT_REGION, profile), then EC2 instance metadata. If none of them
	// has one, {"all"} takes the main Region of the first role's AWS partition,
	// or us-east-1.
	DefaultRegion string

	// Regions are read for every account. Empty: DefaultRegion alone. {"all"}:
	// every Region enabled in the account, of the AWS partition (aws, aws-cn,
	// aws-us-gov) that DefaultRegion is in.
	Regions []string

	// AssumeRoleARN lists the IAM roles to assume, separated by commas. A comma
	// inside a role's name is fine: the list is only split before "arn:". Where
	// two of them are read and are of one account, the first is used.
	AssumeRoleARN string

	// AssumeRoleMode is RoleEach (default), RoleChain or RoleHub.
	AssumeRoleMode AssumeRoleMode

	// ExternalID goes with every AssumeRole call: 2 to 1224 of A-Z a-z 0-9
	// _ + = , . @ : / -. Default: none.
	ExternalID string

	// RoleSessionName is what the audited accounts see in their own CloudTrail:
	// 2 to 64 of A-Z a-z 0-9 _ + = , . @ -. Default "cloudtrail-connector".
	RoleSessionName string

	// SessionDuration is how long an assumed role lasts, in whole seconds from
	// 900 s to 43200 s, and no more than the role's own maximum. AWS limits it to
	// 3600 s where a role is assumed with another role's credentials. Default
	// 3600 s. Sessions are renewed in time, so longer ones only save STS calls.
	SessionDuration time.Duration

	// PageSize is how many events one request asks for. Default 100. It is never
	// over the API's 50.
	PageSize int

	// ParallelRequests bounds the requests in flight and the pages waiting for the
	// handler, both together, for each Sync; the page that the handler has is not
	// counted. Default 8.
	ParallelRequests int

	// MaxRetries is how many times one request is attempted before it is reported
	// as failed. Default 10.
	MaxRetries int
}

const (
	defaultRoleSessionName  = "cloudtrail-connector"
	defaultSessionDuration  = time.Hour
	defaultPageSize         = 100
	defaultParallelRequests = 8
	defaultMaxRetries       = 10

	minSessionDuration   = 900 * time.Second
	maxSessionDuration   = 43200 * time.Second
	maxChainedDuration   = 3600 * time.Second // AWS: role chaining
	maxExternalID        = 1224               // more than regexp's repeat count allows
	reasonSessionSeconds = "must be a whole number of seconds from 900 to 43200"
)

var (
	externalIDPattern  = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)
	sessionNamePattern = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

// setting ties a key of ConfigFromSettings to the Config field it fills.
type setting struct {
	key, field string
	set        func(c *Config, v string) (reason string)
}

var settings = []setting{
	{"accessKeyId", "AccessKeyID", text(func(c *Config) *string { return &c.AccessKeyID })},
	{"secretAccessKey", "SecretAccessKey", text(func(c *Config) *string { return &c.SecretAccessKey })},
	{"sessionToken", "SessionToken", text(func(c *Config) *string { return &c.SessionToken })},
	{"defaultRegion", "DefaultRegion", text(func(c *Config) *string { return &c.DefaultRegion })},
	{"regions", "Regions", func(c *Config, v string) string { c.Regions = strings.Split(v, ","); return "" }},
	{"assumeRoleArn", "AssumeRoleARN", text(func(c *Config) *string { return &c.AssumeRoleARN })},
	{"assumeRoleMode", "AssumeRoleMode", func(c *Config, v string) string { c.AssumeRoleMode = AssumeRoleMode(v); return "" }},
	{"externalId", "ExternalID", text(func(c *Config) *string { return &c.ExternalID })},
	{"roleSessionName", "RoleSessionName", text(func(c *Config) *string { return &c.RoleSessionName })},
	{"sessionDuration", "SessionDuration", seconds},
	{"pageSize", "PageSize", count(func(c *Config) *int { return &c.PageSize })},
	{"parallelRequests", "ParallelRequests", count(func(c *Config) *int { return &c.ParallelRequests })},
	{"maxRetries", "MaxRetries", count(func(c *Config) *int { return &c.MaxRetries })},
}

func text(field func(*Config) *string) func(*Config, string) string {
	return func(c *Config, v string) string { *field(c) = v; return "" }
}

func count(field func(*Config) *int) func(*Config, string) string {
	return func(c *Config, v string) string {
		n, err := strconv.Atoi(v)
		if err != nil || n <= 0 {
			return "must be a whole number above 0"
		}
		*field(c) = n
		return ""
	}
}

func seconds(c *Config, v string) string {
	n, err := strconv.Atoi(v)
	if err != nil || n < int(minSessionDuration/time.Second) || n > int(maxSessionDuration/time.Second) {
		return reasonSessionSeconds
	}
	c.SessionDuration = time.Duration(n) * time.Second
	return ""
}

// ConfigFromSettings returns the Config that a host's string map describes.
// The keys, which are case-sensitive, are accessKeyId, secretAccessKey,
// sessionToken, defaultRegion, regions (comma-separated), assumeRoleArn,
// assumeRoleMode, externalId, roleSessionName, sessionDuration (seconds),
// pageSize, parallelRequests and maxRetries. A key that is missing or empty
// leaves its field zero, which is the default. The error joins a *ConfigError
// for every bad or unknown setting, with Field set to its key.
func ConfigFromSettings(m map[string]string) (Config, error) {
	var c Config
	var unknown []error
	bad := map[string]string{} // by field
	keys := make([]string, len(settings))
	for i, s := range settings {
		keys[i] = s.key
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		i := slices.Index(keys, k)
		if i < 0 {
			unknown = append(unknown, &ConfigError{Field: k, Reason: unknownReason("setting", k, keys)})
			continue
		}
		if v := strings.TrimSpace(m[k]); v != "" {
			if reason := settings[i].set(&c, v); reason != "" {
				bad[settings[i].field] = reason
			}
		}
	}
	c = c.trimmed()
	name := func(field string) string {
		return settings[slices.IndexFunc(settings, func(s setting) bool { return s.field == field })].key
	}
	maps.Copy(bad, c.problems(name))
	if err := errors.Join(append(configErrors(bad, name), unknown...)...); err != nil {
		return Config{}, err
	}
	return c, nil
}

// configErrors returns bad, reasons by Config field, in the order of the table.
func configErrors(bad map[string]string, name func(field string) string) []error {
	var errs []error
	for _, s := range settings {
		if reason, ok := bad[s.field]; ok {
			errs = append(errs, &ConfigError{Field: name(s.field), Reason: reason})
		}
	}
	return errs
}

// trimmed returns c without white space around its values and without empty
// Regions. It shares nothing with c.
func (c Config) trimmed() Config {
	for _, s := range []*string{&c.AccessKeyID, &c.SecretAccessKey, &c.SessionToken, &c.DefaultRegion,
		&c.AssumeRoleARN, (*string)(&c.AssumeRoleMode), &c.ExternalID, &c.RoleSessionName} {
		*s = strings.TrimSpace(*s)
	}
	var regions []string
	for _, r := range c.Regions {
		if r = strings.TrimSpace(r); r != "" {
			regions = append(regions, r)
		}
	}
	c.Regions = regions
	return c
}

// withDefaults returns c with its zero fields filled in, but for the Region,
// which has to be searched for.
func (c Config) withDefaults() Config {
	if c.AssumeRoleMode == "" {
		c.AssumeRoleMode = RoleEach
	}
	if c.RoleSessionName == "" {
		c.RoleSessionName = defaultRoleSessionName
	}
	if c.SessionDuration == 0 {
		c.SessionDuration = defaultSessionDuration
	}
	if c.PageSize == 0 {
		c.PageSize = defaultPageSize
	}
	if c.ParallelRequests == 0 {
		c.ParallelRequests = defaultParallelRequests
	}
	if c.MaxRetries == 0 {
		c.MaxRetries = defaultMaxRetries
	}
	return c
}

// problems returns what is wrong with c, by field; name gives a field the name
// that the caller's user knows. No reason quotes a value: whoever puts a secret
// into the wrong field must not find it in a log.
func (c Config) problems(name func(field string) string) map[string]string {
	bad := map[string]string{}
	c.keyProblems(bad, name)
	if c.DefaultRegion != "" && !regionPattern.MatchString(c.DefaultRegion) {
		bad["DefaultRegion"] = `is not a Region name such as "eu-central-1"`
	}
	for i, r := range c.Regions {
		switch {
		case r == allRegions && len(c.Regions) > 1:
			bad["Regions"] = `"all" must stand alone`
		case r != allRegions && !regionPattern.MatchString(r):
			bad["Regions"] = fmt.Sprintf(`number %d of %d is not a Region name such as "eu-central-1", nor is it "all"`, i+1, len(c.Regions))
		default:
			continue
		}
		break
	}
	c.roleProblems(bad, name)
	for field, n := range map[string]int{"PageSize": c.PageSize, "ParallelRequests": c.ParallelRequests, "MaxRetries": c.MaxRetries} {
		if n < 0 {
			bad[field] = "must not be negative"
		}
	}
	return bad
}

func (c Config) keyProblems(bad map[string]string, name func(string) string) {
	switch {
	case c.AccessKeyID == "" && c.SecretAccessKey != "":
		bad["AccessKeyID"] = "is missing, but " + name("SecretAccessKey") + " is set"
	case c.AccessKeyID != "" && c.SecretAccessKey == "":
		bad["SecretAccessKey"] = "is missing, but " + name("AccessKeyID") + " is set"
	case c.AccessKeyID == "" && c.SessionToken != "":
		bad["SessionToken"] = "is set without " + name("AccessKeyID") + " and " + name("SecretAccessKey")
	}
	for field, v := range map[string]string{"AccessKeyID": c.AccessKeyID, "SecretAccessKey": c.SecretAccessKey, "SessionToken": c.SessionToken} {
		if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
			bad[field] = "has white space or other characters that no AWS key has"
		}
	}
}

func (c Config) roleProblems(bad map[string]string, name func(string) string) {
	roles, reason := parseRoles(c.AssumeRoleARN)
	if reason != "" {
		bad["AssumeRoleARN"] = reason
	}
	switch c.AssumeRoleMode {
	case "", RoleEach, RoleChain:
	case RoleHub:
		if reason == "" && len(roles) == 1 {
			bad["AssumeRoleARN"] = "has a single role, the hub, and " + name("AssumeRoleMode") + ` "hub" syncs only the others`
		}
	default:
		bad["AssumeRoleMode"] = `must be "each", "chain" or "hub"`
	}
	if c.ExternalID != "" && (len(c.ExternalID) > maxExternalID || !externalIDPattern.MatchString(c.ExternalID)) {
		bad["ExternalID"] = "must be 2 to 1224 of A-Z a-z 0-9 _ + = , . @ : / -"
	}
	if c.RoleSessionName != "" && !sessionNamePattern.MatchString(c.RoleSessionName) {
		bad["RoleSessionName"] = "must be 2 to 64 of A-Z a-z 0-9 _ + = , . @ -"
	}
	chained := (c.AssumeRoleMode == RoleChain || c.AssumeRoleMode == RoleHub) && len(roles) > 1
	switch d := c.SessionDuration; {
	case d == 0:
	case d < minSessionDuration || d > maxSessionDuration || d%time.Second != 0:
		bad["SessionDuration"] = reasonSessionSeconds
	case d > maxChainedDuration && chained:
		bad["SessionDuration"] = "must not be over 3600 seconds where a role is assumed with another role's credentials (" +
			name("AssumeRoleMode") + ` "chain" or "hub"): AWS limits role chaining to one hour`
	}
}

// plainConfig is a Config without its methods, for printing.
type plainConfig Config

func (c Config) redacted() plainConfig {
	for _, s := range []*string{&c.AccessKeyID, &c.SecretAccessKey, &c.SessionToken, &c.ExternalID} {
		if *s != "" {
			*s = "REDACTED"
		}
	}
	return plainConfig(c)
}

// Format keeps keys and the external id out of fmt, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "cloudtrail.Config%+v", c.redacted()) }

// LogValue keeps keys and the external id out of log/slog.
func (c Config) LogValue() slog.Value { return slog.AnyValue(c.redacted()) }

// MarshalJSON keeps keys and the external id out of JSON. A Config can't be
// stored this way: see ConfigFromSettings.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.redacted()) }
