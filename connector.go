// Package cloudtrail brings AWS CloudTrail management events into a host's own
// data model: it reads the event history of every account and Region it is
// given with LookupEvents, at the quota and no faster, turns each event into a
// [CloudResource], and hands back a [SyncToken] from which the next sync goes on
// without losing an event.
//
//	c, err := cloudtrail.New(ctx, cloudtrail.Config{Regions: []string{"us-east-1", "eu-west-1"}})
//	if err != nil {
//		return err
//	}
//	since, err := cloudtrail.ParseSyncToken(stored) // "" the first time
//	if err != nil {
//		return err
//	}
//	result, err := c.Sync(ctx, cloudtrail.SyncOptions{Since: since},
//		func(ctx context.Context, page cloudtrail.Page) error {
//			return upsert(ctx, page.Records) // by UID: recent events come again
//		})
//	save(result.Token.String()) // also when err isn't nil: it keeps what is owed
//	return err
//
// Events arrive late, so a sync reads the last 15 minutes of the one before once
// more; the records have the same UIDs. A host that stores [Page.Token] with each
// page may be killed at any time: what it stored last is where to go on.
//
// The credentials need cloudtrail:LookupEvents alone, and sts:AssumeRole where
// roles are listed. CloudTrail keeps 90 days of management events:
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
package cloudtrail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
)

// LookupEventsAPIClient is the one operation of the SDK's CloudTrail client
// that the connector calls. *awscloudtrail.Client implements it; a unit test
// may stub it (see WithClient).
type LookupEventsAPIClient interface {
	LookupEvents(context.Context, *awscloudtrail.LookupEventsInput, ...func(*awscloudtrail.Options)) (*awscloudtrail.LookupEventsOutput, error)
}

// Partition is one account and Region: the unit of quota, of failure and of
// the sync token.
type Partition struct {
	AccountID string // 12 digits; empty where it could not be found out
	RoleARN   string // the role that is assumed to read it; empty: the base credentials
	Region    string
}

// String returns "111122223333/us-east-1", or the Region alone where the
// account is unknown.
func (p Partition) String() string {
	if p.AccountID == "" {
		return p.Region
	}
	return p.AccountID + "/" + p.Region
}

// Connector reads the CloudTrail event history of the accounts and Regions it
// was made for. Make one with New. It is safe for concurrent use: several Syncs
// share each partition's quota and the cached credentials.
type Connector struct{ *connector }

// connector hides what a Connector holds from fmt, which never asks an
// unexported field for its Format: it prints a pointer there as an address, or,
// where the verb doesn't suit a pointer, what it points to, but no pointer
// further. So these are pointers behind a pointer.
type connector struct {
	cfg    *Config // with defaults; DefaultRegion is set
	opts   *options
	auth   *auth
	pacers *pacers
}

// New checks cfg and returns a Connector. It calls no AWS service; only if no
// Region is given and none is found in the environment or the shared config
// files it asks the EC2 instance metadata, for at most 2 seconds. Its error is
// that of ctx, or joins a *ConfigError for every bad field and why the AWS
// configuration could not be loaded.
func New(ctx context.Context, cfg Config, opts ...Option) (*Connector, error) {
	o, optErr := newOptions(opts)
	cfg = cfg.trimmed()
	field := func(f string) string { return f }
	bad := cfg.problems(field)
	cfg = cfg.withDefaults()

	var base aws.Config
	var loadErr error
	if o.client == nil {
		base, loadErr = loadAWSConfig(ctx, cfg, o.awsConfig, o.logger)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if loadErr == nil && bad["DefaultRegion"] == "" && bad["Regions"] == "" {
		if field, reason := cfg.chooseRegion(&base); reason != "" {
			bad[field] = reason
		}
	}
	if err := errors.Join(append(configErrors(bad, field), optErr, loadErr)...); err != nil {
		return nil, err
	}
	c := &Connector{&connector{cfg: &cfg, opts: o, auth: newAuth(cfg, base, o.client != nil, o.logger), pacers: newPacers(o.rate)}}
	if regions := c.regions(); awsPartition(regions[0]) == "aws" && !slices.Contains(regions, "us-east-1") {
		o.logger.Warn("us-east-1 is not among the Regions: the events of IAM, STS, CloudFront and sign-in are recorded only there", "regions", regions)
	}
	return c, nil
}

// Partitions returns the partitions that a Sync reads, in the order of the
// roles and Regions given; with Regions {"all"} also those that turn out not to
// be enabled. It may ask sts:GetCallerIdentity for the account of the base
// credentials; if that fails the account id is empty. The only error is that of
// ctx.
func (c *Connector) Partitions(ctx context.Context) ([]Partition, error) {
	sessions, err := c.sessions(ctx)
	if err != nil {
		return nil, err
	}
	var partitions []Partition
	for _, s := range sessions {
		for _, r := range c.regions() {
			partitions = append(partitions, Partition{AccountID: s.accountID, RoleARN: s.roleARN, Region: r})
		}
	}
	return partitions, nil
}

// Format keeps secrets out of fmt, whatever the verb.
func (c Connector) Format(f fmt.State, _ rune) { io.WriteString(f, "cloudtrail.Connector") }
