package cloudtrail

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

const (
	accountB = "222233334444"
	accountC = "333344445555"
	baseUser = "arn:aws:iam::" + cloudtrailtest.AccountID + ":user/connector"
)

func TestParseRoles(t *testing.T) {
	tests := map[string]struct {
		list string
		want []string // nil: an error
	}{
		"none":                   {"", []string{}},
		"one":                    {roleA, []string{roleA}},
		"comma in a name":        {roleB, []string{roleB}},
		"comma at the end":       {roleA + ",," + roleB, []string{roleA + ",", roleB}},
		"space":                  {roleA + " , \n" + roleB, []string{roleA, roleB}},
		"path with arn":          {"arn:aws:iam::111122223333:role/a/arn,b/c", []string{"arn:aws:iam::111122223333:role/a/arn,b/c"}},
		"partitions":             {"arn:aws-cn:iam::111122223333:role/a,arn:aws-us-gov:iam::111122223333:role/a,arn:aws-iso-b:iam::111122223333:role/a", []string{"arn:aws-cn:iam::111122223333:role/a", "arn:aws-us-gov:iam::111122223333:role/a", "arn:aws-iso-b:iam::111122223333:role/a"}},
		"no ARN":                 {"role/a", nil},
		"user":                   {"arn:aws:iam::111122223333:user/a", nil},
		"session":                {"arn:aws:sts::111122223333:assumed-role/a/b", nil},
		"region":                 {"arn:aws:iam:us-east-1:111122223333:role/a", nil},
		"short account":          {"arn:aws:iam::11112222333:role/a", nil},
		"no name":                {"arn:aws:iam::111122223333:role/", nil},
		"path without a name":    {"arn:aws:iam::111122223333:role/a/", nil},
		"bad character":          {"arn:aws:iam::111122223333:role/a b", nil},
		"long name":              {"arn:aws:iam::111122223333:role/" + strings.Repeat("a", 65), nil},
		"other partition":        {"arn:gcp:iam::111122223333:role/a", nil},
		"second is bad":          {roleA + ",arn:x", nil},
		"separated by semicolon": {roleA + ";" + roleB, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			roles, reason := parseRoles(tt.list)
			if tt.want == nil {
				assert.NotEmpty(t, reason)
				return
			}
			require.Empty(t, reason)
			got := []string{}
			for _, r := range roles {
				got = append(got, r.arn)
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

func FuzzRoleARNs(f *testing.F) {
	f.Add(roleA + ", " + roleB)
	f.Add("arn:aws:iam::111122223333:role/,arn:")
	f.Add(",")
	f.Fuzz(func(t *testing.T, list string) {
		roles, reason := parseRoles(list)
		if reason != "" {
			if roles != nil {
				t.Fatal("roles and a reason")
			}
			return
		}
		var arns []string
		for _, r := range roles {
			if len(r.accountID) != 12 || !strings.HasPrefix(r.arn, "arn:"+r.partition+":iam::"+r.accountID+":role/") {
				t.Fatalf("%+v", r)
			}
			arns = append(arns, r.arn)
		}
		again, reason := parseRoles(strings.Join(arns, ", "))
		if reason != "" || len(again) != len(roles) {
			t.Fatalf("%v, but joined: %v %s", roles, again, reason)
		}
	})
}

// calls notes who called STS for what.
type calls struct {
	mu   sync.Mutex
	list []string
}

func (c *calls) add(s string) { c.mu.Lock(); defer c.mu.Unlock(); c.list = append(c.list, s) }

// take returns the calls since the last take.
func (c *calls) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.list
	c.list = nil
	return l
}

// watch notes fake's STS calls as "Action Region Caller RoleArn"; fault may be nil.
func watch(fake *cloudtrailtest.Fake, fault func(cloudtrailtest.Call) *cloudtrailtest.Fault) *calls {
	c := &calls{}
	fake.SetFault(func(call cloudtrailtest.Call) *cloudtrailtest.Fault {
		if call.Service == "sts" {
			c.add(strings.TrimSpace(call.Action + " " + call.Region + " " + call.Caller + " " + call.Form.Get("RoleArn")))
		}
		if fault == nil {
			return nil
		}
		return fault(call)
	})
	return c
}

// partitions returns c's, each "account/Region role".
func partitions(t *testing.T, c *Connector) []string {
	t.Helper()
	ps, err := c.Partitions(context.Background())
	require.NoError(t, err)
	var s []string
	for _, p := range ps {
		s = append(s, strings.TrimSpace(p.String()+" "+p.RoleARN))
	}
	return s
}

func session0(t *testing.T, c *Connector) *session {
	t.Helper()
	sessions, err := c.sessions(context.Background())
	require.NoError(t, err)
	return sessions[0]
}

func TestAssumeRoleModes(t *testing.T) {
	const (
		a = "arn:aws:iam::" + cloudtrailtest.AccountID + ":role/a,arn"
		b = "arn:aws:iam::" + accountB + ":role/team/b"
		c = "arn:aws:iam::" + accountC + ":role/c"
	)
	as := func(arn, name string) string {
		return "arn:aws:sts::" + arn[len("arn:aws:iam::"):][:12] + ":assumed-role/" + name + "/cloudtrail-connector"
	}
	const call = "AssumeRole eu-west-1 "
	tests := map[AssumeRoleMode]struct {
		want  []string
		calls []string
	}{
		RoleEach: {
			[]string{cloudtrailtest.AccountID + "/us-east-1 " + a, accountB + "/us-east-1 " + b, accountC + "/us-east-1 " + c},
			[]string{call + baseUser + " " + a, call + baseUser + " " + b, call + baseUser + " " + c},
		},
		RoleChain: {
			[]string{accountC + "/us-east-1 " + c},
			[]string{call + baseUser + " " + a, call + as(a, "a,arn") + " " + b, call + as(b, "b") + " " + c},
		},
		RoleHub: {
			[]string{accountB + "/us-east-1 " + b, accountC + "/us-east-1 " + c},
			[]string{call + baseUser + " " + a, call + as(a, "a,arn") + " " + b, call + as(a, "a,arn") + " " + c},
		},
	}
	for mode, tt := range tests {
		t.Run(string(mode), func(t *testing.T) {
			fake := cloudtrailtest.New()
			fake.Account(cloudtrailtest.AccountID).AddRole(cloudtrailtest.Role{Name: "a,arn", ExternalID: "ext"})
			fake.Account(accountB).AddRole(cloudtrailtest.Role{Name: "team/b", ExternalID: "ext"})
			fake.Account(accountC).AddRole(cloudtrailtest.Role{Name: "c", ExternalID: "ext"})
			called := watch(fake, nil)
			conn, err := New(t.Context(), Config{DefaultRegion: "eu-west-1", Regions: []string{"us-east-1"},
				AssumeRoleARN: a + "," + b + ", " + c, AssumeRoleMode: mode, ExternalID: "ext"}, WithAWSConfig(fake.AWSConfig("")))
			require.NoError(t, err)
			assert.Equal(t, tt.want, partitions(t, conn))
			assert.Empty(t, called.take(), "account ids come from the ARNs")

			sessions, err := conn.sessions(t.Context())
			require.NoError(t, err)
			for range 2 { // the second time all is cached
				for _, s := range sessions {
					require.NoError(t, s.retrieve(t.Context()))
					assert.True(t, s.verified())
					_, err := s.client("us-east-1", false).LookupEvents(t.Context(), &awscloudtrail.LookupEventsInput{})
					require.NoError(t, err)
				}
			}
			assert.Equal(t, tt.calls, called.take())
		})
	}
}

func TestRoleFailures(t *testing.T) {
	tests := map[string]struct {
		role cloudtrailtest.Role
		cfg  func(*Config, string)
		says []string
	}{
		"wrong external id": {cloudtrailtest.Role{Name: "r", ExternalID: "right"}, func(c *Config, _ string) { c.ExternalID = "wrong" },
			[]string{"role 1 of 1", "the base credentials", "AccessDenied", "external id", "trust policy"}},
		"not trusted": {cloudtrailtest.Role{Name: "r", Trusts: []string{accountC}}, nil, []string{"AccessDenied", "trust policy"}},
		"no such role": {cloudtrailtest.Role{Name: "r"}, func(c *Config, arn string) { c.AssumeRoleARN = arn + "x" },
			[]string{"role/rx", "AccessDenied", "exists"}},
		"too long": {cloudtrailtest.Role{Name: "r"}, func(c *Config, _ string) { c.SessionDuration = 2 * time.Hour },
			[]string{"ValidationError", "session duration", "maximum"}},
		"second of a chain": {cloudtrailtest.Role{Name: "r", Trusts: []string{accountC}}, func(c *Config, arn string) {
			c.AssumeRoleARN, c.AssumeRoleMode = "arn:aws:iam::"+cloudtrailtest.AccountID+":role/hop,"+arn, RoleChain
		}, []string{"role 2 of 2", "role/r)", "with role 1 of 2", "role/hop", "AccessDenied"}},
		"wrong secret": {cloudtrailtest.Role{Name: "r"}, func(c *Config, _ string) {
			c.AccessKeyID, c.SecretAccessKey = cloudtrailtest.AccessKeyID, "planted"
		}, []string{"SignatureDoesNotMatch", "secret access key"}},
		"wrong key": {cloudtrailtest.Role{Name: "r"}, func(c *Config, _ string) { c.AccessKeyID, c.SecretAccessKey = "AKIAX", "planted" },
			[]string{"InvalidClientTokenId", "access key is wrong"}},
		"expired base": {cloudtrailtest.Role{Name: "r"}, func(c *Config, _ string) {
			c.AccessKeyID, c.SecretAccessKey, c.SessionToken = "ASIAOLD", "planted", "token"
		}, []string{"ExpiredToken", "renewed by whoever issued them"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fake := cloudtrailtest.New()
			fake.Account(cloudtrailtest.AccountID).AddSession("ASIAOLD", "planted", "token", time.Now().Add(-time.Hour))
			fake.Account(cloudtrailtest.AccountID).AddRole(cloudtrailtest.Role{Name: "hop"})
			cfg := Config{AssumeRoleARN: fake.Account(accountB).AddRole(tt.role), DefaultRegion: "us-east-1"}
			if tt.cfg != nil {
				tt.cfg(&cfg, cfg.AssumeRoleARN)
			}
			c, err := New(t.Context(), cfg, WithAWSConfig(fake.AWSConfig("")))
			require.NoError(t, err)
			s := session0(t, c)
			err = s.retrieve(t.Context())
			require.Error(t, err)
			assert.False(t, s.verified())

			pe := newPartitionError(Partition{AccountID: accountB, RoleARN: s.roleARN, Region: "us-east-1"}, "GetCredentials", err)
			assert.Equal(t, "AssumeRole", pe.Op)
			for _, says := range tt.says {
				assert.ErrorContains(t, pe, says)
			}
			assert.NotContains(t, pe.Error(), "planted")
			assert.LessOrEqual(t, fake.Stats().STS["AssumeRole"], 3, "nothing here is worth many attempts")
		})
	}
}

func TestAssumeRoleRetries(t *testing.T) {
	isolateAWS(t)
	for name, fault := range map[string]*cloudtrailtest.Fault{
		"throttled": cloudtrailtest.Throttling(), "unavailable": cloudtrailtest.Status(503), "cut": cloudtrailtest.Cut(), "reset": cloudtrailtest.Reset(),
		"silent": cloudtrailtest.Silence(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_MAX_ATTEMPTS", "7") // of the SDK's retryer: it must not multiply
			t.Setenv("AWS_RETRY_MODE", "adaptive")
			synctest.Test(t, func(t *testing.T) {
				fake := cloudtrailtest.New()
				arn := fake.Account(accountB).AddRole(cloudtrailtest.Role{Name: "r"})
				called := watch(fake, func(cloudtrailtest.Call) *cloudtrailtest.Fault { return fault })
				c, err := New(t.Context(), Config{AssumeRoleARN: arn, DefaultRegion: "us-east-1", MaxRetries: 3,
					AccessKeyID: cloudtrailtest.AccessKeyID, SecretAccessKey: cloudtrailtest.SecretAccessKey},
					WithAWSConfig(aws.Config{HTTPClient: &http.Client{Transport: fake}, RetryMaxAttempts: 7}))
				require.NoError(t, err)
				require.Error(t, session0(t, c).retrieve(t.Context()))
				assert.Len(t, called.take(), 3)

				fake.SetFault(nil)
				require.NoError(t, session0(t, c).retrieve(t.Context()))
			})
		})
	}
}

// The default chain reads AWS_MAX_ATTEMPTS, which would be wrapped around any
// retryer.
func TestSingleAttempt(t *testing.T) {
	isolateAWS(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "7")
	fake := cloudtrailtest.New()
	t.Setenv("AWS_ENDPOINT_URL", fake.Start(t))
	var requests atomic.Int32
	fake.SetFault(func(cloudtrailtest.Call) *cloudtrailtest.Fault {
		requests.Add(1)
		return cloudtrailtest.Status(503)
	})
	c, err := New(t.Context(), Config{DefaultRegion: "us-east-1", AccessKeyID: cloudtrailtest.AccessKeyID, SecretAccessKey: cloudtrailtest.SecretAccessKey})
	require.NoError(t, err)
	s := session0(t, c)
	assert.EqualValues(t, 1, requests.Load(), "GetCallerIdentity")
	_, err = s.client("us-east-1", false).LookupEvents(t.Context(), &awscloudtrail.LookupEventsInput{})
	require.Error(t, err)
	assert.EqualValues(t, 2, requests.Load())
}

func TestBaseSession(t *testing.T) {
	fake := cloudtrailtest.New()
	var log bytes.Buffer
	broken := true
	called := watch(fake, func(cloudtrailtest.Call) *cloudtrailtest.Fault {
		if broken {
			return cloudtrailtest.Error(403, "RegionDisabledException", "STS is not activated in this region")
		}
		return nil
	})
	c, err := New(t.Context(), Config{DefaultRegion: "eu-west-1", Regions: []string{"us-east-1"}}, WithAWSConfig(fake.AWSConfig("")),
		WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	assert.Empty(t, called.take(), "New calls nobody")

	assert.Equal(t, []string{"us-east-1"}, partitions(t, c), "STS is not needed")
	assert.False(t, session0(t, c).verified())
	assert.Contains(t, log.String(), "RegionDisabledException")
	assert.Len(t, called.take(), 2)

	broken = false
	assert.Equal(t, []string{cloudtrailtest.AccountID + "/us-east-1"}, partitions(t, c))
	assert.True(t, session0(t, c).verified())
	assert.Equal(t, []string{"GetCallerIdentity eu-west-1 " + baseUser}, called.take(), "once it is known it isn't asked again")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Partitions(ctx)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestSilentSTS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		watch(fake, func(cloudtrailtest.Call) *cloudtrailtest.Fault { return cloudtrailtest.Silence() })
		c, err := New(t.Context(), Config{DefaultRegion: "us-east-1"}, WithAWSConfig(fake.AWSConfig("")))
		require.NoError(t, err)
		began := time.Now()
		assert.Equal(t, []string{"us-east-1"}, partitions(t, c))
		assert.Equal(t, identityTimeout, time.Since(began))
	})
}

// A context that ends ends the wait for STS, and leaves nothing running:
// synctest would say so.
func TestCancelledRetrieve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		arn := fake.Account(accountB).AddRole(cloudtrailtest.Role{Name: "r"})
		watch(fake, func(cloudtrailtest.Call) *cloudtrailtest.Fault { return cloudtrailtest.Silence() })
		c, err := New(t.Context(), Config{AssumeRoleARN: arn, DefaultRegion: "us-east-1"}, WithAWSConfig(fake.AWSConfig("")))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() { assert.ErrorIs(t, session0(t, c).retrieve(ctx), context.DeadlineExceeded) })
		}
		group.Wait()
		assert.Equal(t, time.Second, time.Since(began))
	})
}

func TestRolesOfOneAccount(t *testing.T) {
	var log bytes.Buffer
	stub := WithClient(func(Partition) LookupEventsAPIClient { return nil })
	x, y := "arn:aws:iam::"+accountB+":role/x", "arn:aws:iam::"+accountB+":role/y"
	for mode, want := range map[AssumeRoleMode][]string{
		RoleEach:  {accountB + "/eu-west-1 " + x, accountC + "/eu-west-1 arn:aws:iam::" + accountC + ":role/z"},
		RoleHub:   {accountB + "/eu-west-1 " + y, accountC + "/eu-west-1 arn:aws:iam::" + accountC + ":role/z"},
		RoleChain: {accountC + "/eu-west-1 arn:aws:iam::" + accountC + ":role/z"},
	} {
		log.Reset()
		c, err := New(t.Context(), Config{AssumeRoleARN: x + "," + y + ",arn:aws:iam::" + accountC + ":role/z", AssumeRoleMode: mode, DefaultRegion: "eu-west-1"},
			stub, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		require.NoError(t, err)
		assert.Equal(t, want, partitions(t, c))
		warned := strings.Count(log.String(), "two roles are of one account")
		if mode == RoleEach {
			assert.Equal(t, 1, warned)
		} else {
			assert.Zero(t, warned)
		}
	}
}

func TestGlobalEventsWarning(t *testing.T) {
	stub := WithClient(func(Partition) LookupEventsAPIClient { return nil })
	for region, warn := range map[string]bool{"eu-west-1": true, "us-east-1": false, "all": false, "cn-north-1": false, "us-gov-west-1": false} {
		var log bytes.Buffer
		_, err := New(t.Context(), Config{Regions: []string{region}}, stub, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		require.NoError(t, err)
		assert.Equal(t, warn, strings.Contains(log.String(), "sign-in"), region)
	}
}

// With a client of the host's own nothing of AWS's is touched.
func TestWithClient(t *testing.T) {
	isolateAWS(t)
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_PROFILE", "none") // loading would fail
	stub := WithClient(func(Partition) LookupEventsAPIClient { return nil })
	_, err := New(t.Context(), Config{}, stub)
	assert.Equal(t, []string{"DefaultRegion"}, fields(t, err))

	c, err := New(t.Context(), Config{Regions: []string{"eu-west-1", "eu-west-2"}}, stub)
	require.NoError(t, err)
	assert.Equal(t, []string{"eu-west-1", "eu-west-2"}, partitions(t, c))
	s := session0(t, c)
	require.NoError(t, s.retrieve(t.Context()))
	s.renew(time.Now())
	assert.False(t, s.verified())

	c, err = New(t.Context(), Config{Regions: []string{"all"}}, stub)
	require.NoError(t, err)
	assert.Len(t, partitions(t, c), 34)
}

func TestNoCredentials(t *testing.T) {
	isolateAWS(t)
	c, err := New(t.Context(), Config{DefaultRegion: "us-east-1"})
	require.NoError(t, err, "New doesn't ask for credentials")
	err = session0(t, c).retrieve(t.Context())
	require.Error(t, err)
	assert.ErrorContains(t, newPartitionError(Partition{Region: "us-east-1"}, "GetCredentials", err), "no usable credentials")
}

// Keys in Config win over those of the environment and of the host's config.
func TestStaticKeys(t *testing.T) {
	isolateAWS(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "env")
	host := aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIAHOST", "host", "")}
	cfg := Config{DefaultRegion: "us-east-1", AccessKeyID: "AKIAOWN", SecretAccessKey: "own", SessionToken: "token"}
	for name, tt := range map[string]struct {
		cfg  Config
		opts []Option
		want string
	}{
		"keys":                     {cfg, nil, "AKIAOWN"},
		"keys over the host":       {cfg, []Option{WithAWSConfig(host)}, "AKIAOWN"},
		"host":                     {Config{}, []Option{WithAWSConfig(host)}, "AKIAHOST"},
		"environment":              {Config{DefaultRegion: "us-east-1"}, nil, "AKIAENV"},
		"host without credentials": {Config{}, []Option{WithAWSConfig(aws.Config{Region: "us-east-1"})}, "AKIAENV"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := New(t.Context(), tt.cfg, tt.opts...)
			require.NoError(t, err)
			creds, err := c.auth.sessions[0].cfg.Credentials.Retrieve(t.Context())
			require.NoError(t, err)
			assert.Equal(t, tt.want, creds.AccessKeyID)
		})
	}
}

// A role of a chain whose session ended before its time is renewed while the
// credentials are retrieved.
func TestRetrieveRenewsTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		a := fake.Account(accountB).AddRole(cloudtrailtest.Role{Name: "a", Lifetime: 10 * time.Minute})
		b := fake.Account(accountC).AddRole(cloudtrailtest.Role{Name: "b"})
		called := watch(fake, nil)
		c, err := New(t.Context(), Config{AssumeRoleARN: a + "," + b, AssumeRoleMode: RoleChain, DefaultRegion: "us-east-1", SessionDuration: 20 * time.Minute}, WithAWSConfig(fake.AWSConfig("")))
		require.NoError(t, err)
		s := session0(t, c)
		require.NoError(t, s.retrieve(t.Context()))
		assert.Len(t, called.take(), 2)
		for _, c := range s.chain[2:] {
			c.renew(time.Now()) // so that the last role has to be assumed again
		}
		time.Sleep(11 * time.Minute)
		require.NoError(t, s.retrieve(t.Context()))
		assert.Len(t, called.take(), 2)
	})
}
