package cloudtrail

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// allRegions in Config.Regions stands for every Region of the AWS partition.
const allRegions = "all"

// regionPattern lets Regions through that are newer than this list.
var regionPattern = regexp.MustCompile(`^[a-z]{2,}(-[a-z0-9]+)+-[0-9]+$`)

// The Regions with CloudTrail, per AWS partition. No API lists the enabled ones
// of an account with only cloudtrail:LookupEvents. Always-enabled ones stand
// first: their answer tells a Region that is not enabled from a wrong key.
// https://docs.aws.amazon.com/general/latest/gr/ct.html
var (
	defaultRegions = []string{ // enabled in every commercial account
		"us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1",
		"eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1",
		"ap-south-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-southeast-1", "ap-southeast-2",
	}
	optInRegions = []string{
		"af-south-1", "ap-east-1", "ap-east-2", "ap-south-2",
		"ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
		"ca-west-1", "eu-central-2", "eu-south-1", "eu-south-2",
		"il-central-1", "me-central-1", "me-south-1", "mx-central-1",
	}
	partitionRegions = map[string][]string{ // the first is the partition's main one
		"aws":        slices.Concat(defaultRegions, optInRegions),
		"aws-cn":     {"cn-north-1", "cn-northwest-1"},
		"aws-us-gov": {"us-gov-west-1", "us-gov-east-1"},
	}
)

// awsPartition returns the AWS partition of a Region, "" for one whose Regions
// are not known here.
func awsPartition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.Contains(region, "-iso"), strings.HasPrefix(region, "eusc-"):
		return ""
	}
	return "aws"
}

// enabledByDefault reports whether a Region is enabled in every account.
func enabledByDefault(region string) bool {
	p := awsPartition(region)
	return slices.Contains(partitionRegions[p], region) && (p != "aws" || slices.Contains(defaultRegions, region))
}

// regions returns the Regions that each account is read in, in order.
func (c *Connector) regions() []string {
	if c.allRegions() {
		return slices.Clone(partitionRegions[awsPartition(c.cfg.DefaultRegion)])
	}
	if len(c.cfg.Regions) == 0 {
		return []string{c.cfg.DefaultRegion}
	}
	var regions []string
	for _, r := range c.cfg.Regions {
		if !slices.Contains(regions, r) {
			regions = append(regions, r)
		}
	}
	return regions
}

func (c *Connector) allRegions() bool { return c.cfg.allRegions() }

func (c *Config) allRegions() bool { return slices.Equal(c.Regions, []string{allRegions}) }

// chooseRegion sets DefaultRegion, where it is empty, to the Region that base,
// the AWS config, was loaded with: where STS is called. It returns what is wrong
// and with which field.
func (c *Config) chooseRegion(base *aws.Config) (field, reason string) {
	all := c.allRegions()
	if c.DefaultRegion == "" {
		c.DefaultRegion = base.Region
	}
	if c.DefaultRegion == "" && all {
		roles, _ := parseRoles(c.AssumeRoleARN)
		c.DefaultRegion = mainRegion(roles)
	}
	if c.DefaultRegion == "" && len(c.Regions) > 0 {
		c.DefaultRegion = c.Regions[0]
	}
	base.Region = c.DefaultRegion
	switch {
	case c.DefaultRegion == "":
		return "DefaultRegion", "is missing: set it or Regions, or have AWS_REGION, a profile's region or EC2 instance metadata tell it"
	case !regionPattern.MatchString(c.DefaultRegion):
		return "DefaultRegion", `is empty, and what AWS_REGION or the profile has is not a Region name such as "eu-central-1"`
	case all && partitionRegions[awsPartition(c.DefaultRegion)] == nil:
		return "Regions", `"all" is known for the AWS partitions aws, aws-cn and aws-us-gov only: list the Regions`
	}
	return "", ""
}

// mainRegion returns where to start when no Region was given or found: all the
// Regions of the roles' AWS partition, or of the commercial one.
func mainRegion(roles []role) string {
	if len(roles) > 0 {
		if regions := partitionRegions[roles[0].partition]; regions != nil {
			return regions[0]
		}
	}
	return partitionRegions["aws"][0]
}

// metadataTimeout is short, because off EC2 nobody answers.
const metadataTimeout = 2 * time.Second

// metadataRegion asks the EC2 instance metadata for the Region; "" where there
// is none. (config.WithEC2IMDSRegion makes loading fail there.) It heeds
// AWS_EC2_METADATA_DISABLED.
func metadataRegion(ctx context.Context, cfg aws.Config) string {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	client := imds.NewFromConfig(cfg, func(o *imds.Options) { o.Retryer = aws.NopRetryer{} })
	out, err := client.GetRegion(ctx, nil)
	if err != nil || !regionPattern.MatchString(out.Region) {
		return ""
	}
	return out.Region
}
