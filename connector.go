package cloudtrail

import (
	"context"
	"fmt"
	"io"

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
// was made for. It is safe for concurrent use: several Syncs share each
// partition's quota.
type Connector struct {
	cfg  *Config // with defaults; a pointer, so that fmt never prints its fields
	opts *options
}

// New checks cfg and returns a Connector. It calls no AWS service; only if no
// Region is given and none is found in the environment or the shared config
// files it asks the EC2 instance metadata. Its error joins a *ConfigError for
// every bad field.
func New(ctx context.Context, cfg Config, opts ...Option) (*Connector, error) {
	panic("not yet")
}

// Test checks credentials and permission with one request to every partition.
// The error joins a *PartitionError for each partition that can't be read.
func (c *Connector) Test(ctx context.Context) error { panic("not yet") }

// Partitions returns the partitions that a Sync reads, in the order of the
// roles and Regions given.
func (c *Connector) Partitions(ctx context.Context) ([]Partition, error) { panic("not yet") }

// Format keeps secrets out of fmt, whatever the verb.
func (c Connector) Format(f fmt.State, verb rune) { io.WriteString(f, "cloudtrail.Connector") }
