package cloudtrailtest_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

const other = "444455556666"

func stsClient(cfg aws.Config) *sts.Client {
	return sts.NewFromConfig(cfg, func(o *sts.Options) { o.Retryer = aws.NopRetryer{} })
}

// assume returns a configuration with the role's session.
func assume(t *testing.T, cfg aws.Config, in sts.AssumeRoleInput) (aws.Config, *sts.AssumeRoleOutput, error) {
	t.Helper()
	if in.RoleSessionName == nil {
		in.RoleSessionName = aws.String("test-session")
	}
	out, err := stsClient(cfg).AssumeRole(t.Context(), &in)
	if err != nil {
		return aws.Config{}, nil, err
	}
	c := out.Credentials
	return withKey(cfg, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken), out, nil
}

func TestAssumedRoleReadsItsAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := home()
		r.Add(at("mine", time.Hour))
		f.Account(other).Region(region).Add(at("theirs", time.Hour))
		arn := f.Account(other).AddRole(cloudtrailtest.Role{Name: "team/reader,with=comma", ExternalID: "secret-id"})
		assert.Equal(t, "arn:aws:iam::444455556666:role/team/reader,with=comma", arn)

		cfg, out, err := assume(t, f.AWSConfig(region), sts.AssumeRoleInput{RoleArn: &arn, ExternalId: aws.String("secret-id")})
		require.NoError(t, err)
		assert.Equal(t, "arn:aws:sts::444455556666:assumed-role/reader,with=comma/test-session", *out.AssumedRoleUser.Arn)
		assert.Equal(t, time.Now().Add(time.Hour).UTC(), *out.Credentials.Expiration)
		events, _ := readAll(t, client(cfg), nothing)
		assert.Equal(t, []string{"theirs"}, ids(events))

		who, err := stsClient(cfg).GetCallerIdentity(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, other, *who.Account)
		assert.Equal(t, *out.AssumedRoleUser.Arn, *who.Arn)
		assert.Equal(t, *out.AssumedRoleUser.AssumedRoleId, *who.UserId)
		who, err = stsClient(f.AWSConfig(region)).GetCallerIdentity(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, cloudtrailtest.AccountID, *who.Account)
		assert.Equal(t, map[string]int{"AssumeRole": 1, "GetCallerIdentity": 2}, f.Stats().STS)
		assert.Equal(t, map[string]int{"GetCallerIdentity": 1}, f.Account(other).Region(region).Stats().STS)

		time.Sleep(time.Hour)
		_, err = client(cfg).LookupEvents(t.Context(), nil)
		assert.Equal(t, "ExpiredTokenException", code(err))
		_, err = stsClient(cfg).GetCallerIdentity(t.Context(), nil)
		assert.Equal(t, "ExpiredToken", code(err))
	})
}

func TestAssumeRoleLimits(t *testing.T) {
	f := cloudtrailtest.New()
	account := f.Account(other)
	role := account.AddRole(cloudtrailtest.Role{Name: "role"})
	long := account.AddRole(cloudtrailtest.Role{Name: "long", MaxSession: 12 * time.Hour})
	locked := account.AddRole(cloudtrailtest.Role{Name: "locked", ExternalID: "right"})
	private := account.AddRole(cloudtrailtest.Role{Name: "private", Trusts: []string{"999999999999", other}})
	mine := account.AddRole(cloudtrailtest.Role{Name: "mine", Trusts: []string{cloudtrailtest.AccountID}})
	denied := "User: arn:aws:iam::111122223333:user/connector is not authorized to perform: sts:AssumeRole on resource: "
	for name, test := range map[string]struct {
		in   sts.AssumeRoleInput
		code string
		text string
	}{
		"default":            {sts.AssumeRoleInput{RoleArn: &role}, "", ""},
		"trusted":            {sts.AssumeRoleInput{RoleArn: &mine}, "", ""},
		"12 hours":           {sts.AssumeRoleInput{RoleArn: &long, DurationSeconds: aws.Int32(43200)}, "", ""},
		"over the limit":     {sts.AssumeRoleInput{RoleArn: &long, DurationSeconds: aws.Int32(43201)}, "ValidationError", "less than or equal to 43200"},
		"under the limit":    {sts.AssumeRoleInput{RoleArn: &role, DurationSeconds: aws.Int32(899)}, "ValidationError", "greater than or equal to 900"},
		"over the role's":    {sts.AssumeRoleInput{RoleArn: &role, DurationSeconds: aws.Int32(3601)}, "ValidationError", "MaxSessionDuration"},
		"no external id":     {sts.AssumeRoleInput{RoleArn: &locked}, "AccessDenied", denied + locked},
		"wrong external id":  {sts.AssumeRoleInput{RoleArn: &locked, ExternalId: aws.String("wrong")}, "AccessDenied", denied + locked},
		"right external id":  {sts.AssumeRoleInput{RoleArn: &locked, ExternalId: aws.String("right")}, "", ""},
		"odd external id":    {sts.AssumeRoleInput{RoleArn: &locked, ExternalId: aws.String("a b")}, "ValidationError", "externalId"},
		"short external id":  {sts.AssumeRoleInput{RoleArn: &locked, ExternalId: aws.String("a")}, "ValidationError", "externalId"},
		"long external id":   {sts.AssumeRoleInput{RoleArn: &locked, ExternalId: aws.String(strings.Repeat("a", 1225))}, "ValidationError", "externalId"},
		"not trusted":        {sts.AssumeRoleInput{RoleArn: &private}, "AccessDenied", denied + private},
		"unknown role":       {sts.AssumeRoleInput{RoleArn: aws.String(role + "x")}, "AccessDenied", denied + role + "x"},
		"unknown account":    {sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::000000000000:role/x")}, "AccessDenied", denied},
		"no role":            {sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::444455556666:user/x")}, "ValidationError", "is invalid"},
		"odd session name":   {sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("a b")}, "ValidationError", "roleSessionName"},
		"short session name": {sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("a")}, "ValidationError", "roleSessionName"},
		"long session name":  {sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String(strings.Repeat("a", 65))}, "ValidationError", "roleSessionName"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := assume(t, f.AWSConfig(region), test.in)
			assert.Equal(t, test.code, code(err), "%v", err)
			if err != nil {
				assert.ErrorContains(t, err, test.text)
			}
		})
	}
}

func TestRoleChaining(t *testing.T) {
	f := cloudtrailtest.New()
	first := f.Account(other).AddRole(cloudtrailtest.Role{Name: "first", MaxSession: 12 * time.Hour})
	second := f.Account("777788889999").AddRole(cloudtrailtest.Role{Name: "second", MaxSession: 12 * time.Hour, Trusts: []string{first}})

	_, _, err := assume(t, f.AWSConfig(region), sts.AssumeRoleInput{RoleArn: &second})
	assert.Equal(t, "AccessDenied", code(err), "only by way of the first")
	var callers []string
	f.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		callers = append(callers, c.Caller+" "+c.Form.Get("RoleArn"))
		return nil
	})
	hop, _, err := assume(t, f.AWSConfig(region), sts.AssumeRoleInput{RoleArn: &first, DurationSeconds: aws.Int32(43200)})
	require.NoError(t, err)
	_, _, err = assume(t, hop, sts.AssumeRoleInput{RoleArn: &second, DurationSeconds: aws.Int32(3601)})
	assert.Equal(t, "ValidationError", code(err))
	assert.ErrorContains(t, err, "role chaining")
	last, _, err := assume(t, hop, sts.AssumeRoleInput{RoleArn: &second, DurationSeconds: aws.Int32(3600)})
	require.NoError(t, err)
	who, err := stsClient(last).GetCallerIdentity(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, "777788889999", *who.Account)
	assert.Equal(t, []string{
		"arn:aws:iam::111122223333:user/connector " + first,
		"arn:aws:sts::444455556666:assumed-role/first/test-session " + second,
		"arn:aws:sts::444455556666:assumed-role/first/test-session " + second,
		"arn:aws:sts::777788889999:assumed-role/second/test-session ",
	}, callers)
}

// A Lifetime ends sessions early, without saying so beforehand.
func TestLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := cloudtrailtest.New()
		arn := f.Account(other).AddRole(cloudtrailtest.Role{Name: "short", Lifetime: time.Minute})
		cfg, out, err := assume(t, f.AWSConfig(region), sts.AssumeRoleInput{RoleArn: &arn})
		require.NoError(t, err)
		assert.Equal(t, time.Hour, time.Until(*out.Credentials.Expiration))
		time.Sleep(59 * time.Second)
		_, err = client(cfg).LookupEvents(t.Context(), nil)
		assert.NoError(t, err)
		time.Sleep(time.Second)
		_, err = client(cfg).LookupEvents(t.Context(), nil)
		assert.Equal(t, "ExpiredTokenException", code(err))
	})
}

func TestPartitions(t *testing.T) {
	f := cloudtrailtest.New()
	f.Account(other).AddRole(cloudtrailtest.Role{Name: "reader"})
	_, out, err := assume(t, f.AWSConfig("cn-north-1"), sts.AssumeRoleInput{RoleArn: aws.String("arn:aws-cn:iam::444455556666:role/reader")})
	require.NoError(t, err)
	assert.Equal(t, "arn:aws-cn:sts::444455556666:assumed-role/reader/test-session", *out.AssumedRoleUser.Arn)
}

func TestUnknownAction(t *testing.T) {
	f := cloudtrailtest.New()
	_, err := stsClient(f.AWSConfig(region)).GetSessionToken(t.Context(), nil)
	assert.Equal(t, "InvalidAction", code(err))
}
