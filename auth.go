package cloudtrail

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

const (
	assumeTimeout   = 30 * time.Second // of one AssumeRole attempt
	identityTimeout = 5 * time.Second  // of GetCallerIdentity, which a sync can do without
)

// role is one of Config.AssumeRoleARN.
type role struct{ arn, partition, accountID string }

var (
	roleSeparator = regexp.MustCompile(`,\s*arn:`) // names may contain commas
	rolePattern   = regexp.MustCompile(`^arn:(aws(?:-[a-z]+)*):iam::([0-9]{12}):role/((?:[!-~]+/)*[\w+=,.@-]{1,64})$`)
)

// parseRoles splits a list of role ARNs. The reason says which isn't one.
func parseRoles(list string) (roles []role, reason string) {
	if list == "" {
		return nil, ""
	}
	parts := []string{}
	for rest := list; ; {
		at := roleSeparator.FindStringIndex(rest)
		if at == nil {
			parts = append(parts, rest)
			break
		}
		parts = append(parts, rest[:at[0]])
		rest = rest[at[1]-len("arn:"):]
	}
	for i, part := range parts {
		m := rolePattern.FindStringSubmatch(strings.TrimSpace(part))
		// A path may have nearly any character; that way a list with another
		// separator would pass for one role.
		if m == nil || len(m[3]) > 512+64 || strings.Contains(m[3], ":iam::") {
			return nil, fmt.Sprintf(`number %d of %d is not the ARN of an IAM role such as "arn:aws:iam::111122223333:role/name"`, i+1, len(parts))
		}
		roles = append(roles, role{arn: m[0], partition: m[1], accountID: m[2]})
	}
	return roles, ""
}

// loadAWSConfig returns what every AWS client is made from. The host's own
// config wins over the default chains, and keys and Regions in c over both.
func loadAWSConfig(ctx context.Context, c Config, host *aws.Config, log *slog.Logger) (aws.Config, error) {
	var keys aws.CredentialsProvider
	if c.AccessKeyID != "" {
		keys = credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
	}
	region := c.DefaultRegion
	if region == "" && len(c.Regions) > 0 && c.Regions[0] != allRegions {
		region = c.Regions[0]
	}
	var cfg aws.Config
	if host != nil {
		cfg = host.Copy()
		if keys != nil {
			cfg.Credentials = keys
		}
		if region != "" {
			cfg.Region = region
		}
	}
	if cfg.Logger == nil { // else the SDK writes to standard error, the chain's own clients too
		cfg.Logger = logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			log.Debug("AWS SDK", "message", fmt.Sprintf(format, v...))
		})
	}
	if cfg.Region == "" || cfg.Credentials == nil {
		load := func(region string) (found aws.Config, err error) {
			// With AWS_CA_BUNDLE the chain takes no client but the SDK's own.
			for _, client := range []aws.HTTPClient{cfg.HTTPClient, nil} {
				found, err = config.LoadDefaultConfig(ctx, config.WithRegion(region), config.WithHTTPClient(client),
					config.WithCredentialsProvider(keys), config.WithLogger(cfg.Logger),
					config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) {
						o.ExpiryWindow, o.ExpiryWindowJitterFrac = expiryWindow, 0.2
					}))
				if err == nil || client == nil {
					break
				}
			}
			return found, err
		}
		found, err := load(cmp.Or(region, cfg.Region))
		if err == nil && found.Region == "" {
			// The chain's own clients, a profile's role say, need the Region too.
			if r := metadataRegion(ctx, found); r != "" {
				found, err = load(r)
			}
		}
		if err != nil {
			return aws.Config{}, fmt.Errorf("cloudtrail: loading the AWS configuration: %w", err)
		}
		if host == nil {
			cfg = found
		}
		if cfg.Credentials == nil {
			cfg.Credentials = found.Credentials
		}
		cfg.Region = found.Region
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = awshttp.NewBuildableClient() // else each client has connections of its own
	}
	if own, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok && (host == nil || host.HTTPClient == nil) {
		// Many accounts have one endpoint in a Region; the SDK keeps 10 connections.
		cfg.HTTPClient = own.WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns = max(t.MaxIdleConns, c.ParallelRequests)
			t.MaxIdleConnsPerHost = max(t.MaxIdleConnsPerHost, c.ParallelRequests)
		})
	}
	// One attempt per call: see retry.go. RetryMaxAttempts, of AWS_MAX_ATTEMPTS,
	// would be wrapped around the retryer.
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	cfg.RetryMaxAttempts = 0
	return cfg, nil
}

// session is one account session. It is safe for concurrent use.
type session struct {
	accountID string // "": unknown
	roleARN   string // "": the base credentials

	chain    []*credentialCache // what it is assumed from, the base first, and its own; empty with WithClient
	attempts int                // at each AssumeRole
	cfg      aws.Config         // with its own credentials
	assumed  *atomic.Bool
	clients  *sync.Map // by Region
}

// retrieve has the credentials in the cache before paging. Inside LookupEvents
// every attempt of it would hide one at STS.
func (s *session) retrieve(ctx context.Context) error {
	started := time.Now()
	err := s.retrieveChain(ctx)
	if err != nil && classify(err) == expired {
		// A role in between, or the base, ended earlier than it said.
		s.renew(started)
		err = s.retrieveChain(ctx)
	}
	if err == nil && s.roleARN != "" {
		s.assumed.Store(true)
	}
	return err
}

func (s *session) retrieveChain(ctx context.Context) error {
	for _, c := range s.chain {
		attempts := s.attempts
		if c.from == nil {
			attempts = 1 // the default chain has retries of its own
		}
		err := retrying(ctx, attempts, func(ctx context.Context) error {
			_, err := c.Retrieve(ctx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// renew drops the credentials of the session and of everything it is assumed
// from, unless they were renewed after the given time: of several requests that
// fail together only the first has an effect.
func (s *session) renew(used time.Time) {
	for _, c := range s.chain {
		c.renew(used)
	}
}

// verified reports whether the credentials are known to be good, so that
// UnrecognizedClientException can only mean a Region that is not enabled.
func (s *session) verified() bool {
	if s.roleARN == "" {
		return s.accountID != "" // GetCallerIdentity told
	}
	return s.assumed.Load()
}

// client returns the SDK's client for a Region.
func (s *session) client(region string, raw bool) LookupEventsAPIClient {
	if client, ok := s.clients.Load(region); ok {
		return client.(LookupEventsAPIClient)
	}
	client, _ := s.clients.LoadOrStore(region, newClient(s.cfg, region, raw))
	return client.(LookupEventsAPIClient)
}

// auth holds a Connector's account sessions, made once, so that every Sync uses
// the same cached credentials.
type auth struct {
	sessions []*session
	identity *sts.Client // asked for the base session's account; nil if there is none, or WithClient
	known    atomic.Pointer[session]
}

// newAuth makes the sessions of a validated Config; stub means that none of
// them ever needs credentials.
func newAuth(c Config, base aws.Config, stub bool, log *slog.Logger) *auth {
	roles, _ := parseRoles(c.AssumeRoleARN)
	a := &auth{}
	add := func(own *credentialCache, r role) {
		s := &session{accountID: r.accountID, roleARN: r.arn, attempts: c.MaxRetries, assumed: new(atomic.Bool), clients: new(sync.Map)}
		if !stub {
			s.cfg = base.Copy()
			s.cfg.Credentials = own
			for ; own != nil; own = own.from {
				s.chain = append(s.chain, own)
			}
			slices.Reverse(s.chain)
		}
		i := slices.IndexFunc(a.sessions, func(t *session) bool { return t.accountID == s.accountID })
		if i >= 0 {
			log.Warn("two roles are of one account; only the first is used", "account", r.accountID, "used", a.sessions[i].roleARN, "ignored", r.arn)
			return
		}
		a.sessions = append(a.sessions, s)
	}
	assume := func(from *credentialCache, i int) *credentialCache {
		if stub {
			return nil
		}
		return assumeRole(base, from, c, roles[i].arn, fmt.Sprintf("role %d of %d (%s)", i+1, len(roles), roles[i].arn))
	}

	var first *credentialCache // the base ones
	if !stub {
		first = newCredentialCache(nil, "the base credentials", base.Credentials)
	}
	switch {
	case len(roles) == 0:
		add(first, role{})
		if !stub {
			base.Credentials = first
			a.identity = sts.NewFromConfig(base)
		}
	case c.AssumeRoleMode == RoleChain:
		own := first
		for i := range roles {
			own = assume(own, i)
		}
		add(own, roles[len(roles)-1])
	case c.AssumeRoleMode == RoleHub:
		hub := assume(first, 0)
		for i := 1; i < len(roles); i++ {
			add(assume(hub, i), roles[i])
		}
	default:
		for i := range roles {
			add(assume(first, i), roles[i])
		}
	}
	return a
}

// assumeRole returns the credentials of a role that is assumed with from. Its
// client is kept: it learns the clock's skew from failed attempts.
func assumeRole(base aws.Config, from *credentialCache, c Config, arn, name string) *credentialCache {
	base = base.Copy()
	base.Credentials = from
	provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(base), arn, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = c.RoleSessionName
		o.Duration = c.SessionDuration
		if c.ExternalID != "" {
			o.ExternalID = aws.String(c.ExternalID)
		}
	})
	return newCredentialCache(from, name, aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		ctx, cancel := context.WithTimeout(ctx, assumeTimeout)
		defer cancel()
		creds, err := provider.Retrieve(ctx)
		if err != nil {
			err = fmt.Errorf("%s could not be assumed with %s: %w", name, from.name, err)
		}
		return creds, err
	}))
}

// sessions returns the account sessions in the order of the roles, with their
// account ids where they can be found out. Its only error is that of ctx.
func (c *Connector) sessions(ctx context.Context) ([]*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a := c.auth
	if a.identity == nil {
		return a.sessions, nil
	}
	if s := a.known.Load(); s != nil {
		return []*session{s}, nil
	}
	attempt, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	out, err := a.identity.GetCallerIdentity(attempt, nil)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err != nil || aws.ToString(out.Account) == "" {
		// STS may be out of reach where CloudTrail isn't; if the keys are wrong
		// CloudTrail will say so.
		reason := "the answer names no account"
		if err != nil {
			reason = scrub(err).Error()
		}
		c.opts.logger.Warn("the account id of the base credentials is unknown", "error", reason)
		return a.sessions, nil
	}
	s := *a.sessions[0]
	s.accountID = *out.Account
	// Of several that asked at the same time, the first answer stays.
	a.known.CompareAndSwap(nil, &s)
	return []*session{a.known.Load()}, nil
}
