package cloudtrail

import "time"

// AssumeRoleMode says what a list of several roles means.
type AssumeRoleMode string

const (
	RoleEach  AssumeRoleMode = "each"  // every listed role is assumed from the base credentials and synced
	RoleChain AssumeRoleMode = "chain" // each role is assumed with the one before it; the last one is synced
	RoleHub   AssumeRoleMode = "hub"   // the first role is assumed, every other one from it; only the others are synced
)

// Config is everything that a host could keep in a settings file. The zero
// value reads the account of the default AWS credential chain in its default
// Region.
type Config struct {
	AccessKeyID, SecretAccessKey, SessionToken string // empty: the AWS default credential chain

	DefaultRegion    string         // empty: the default Region chain, EC2 metadata included
	Regions          []string       // empty: DefaultRegion alone; {"all"}: every Region enabled in the account
	AssumeRoleARN    string         // comma-separated
	AssumeRoleMode   AssumeRoleMode // RoleEach (default), RoleChain, RoleHub
	ExternalID       string
	RoleSessionName  string        // default "cloudtrail-connector"
	SessionDuration  time.Duration // default 3600 s
	PageSize         int           // default 100; what is asked for is never over the API's 50
	ParallelRequests int           // default 8
	MaxRetries       int           // default 10: attempts for one request before it is reported as failed
}

// ConfigFromSettings returns the Config that a host's string map describes.
func ConfigFromSettings(settings map[string]string) (Config, error) { panic("not yet") }
