package cloudtrail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	roleA = "arn:aws:iam::111122223333:role/a"
	roleB = "arn:aws:iam::444455556666:role/team/b,with=comma"
)

// fields returns the fields that the ConfigErrors joined in err name.
func fields(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok, "not joined: %v", err)
	var names []string
	for _, e := range joined.Unwrap() {
		var ce *ConfigError
		require.ErrorAs(t, e, &ce)
		assert.NotEmpty(t, ce.Reason)
		names = append(names, ce.Field)
	}
	return names
}

func TestConfigFromSettings(t *testing.T) {
	cfg, err := ConfigFromSettings(map[string]string{
		"accessKeyId": " AKIA1 ", "secretAccessKey": "s3cret\n", "sessionToken": "tok", "defaultRegion": "eu-central-1",
		"regions": "us-east-1, eu-west-1,,", "assumeRoleArn": roleA + ", " + roleB, "assumeRoleMode": "chain",
		"externalId": "ext:1/2", "roleSessionName": "me@host", "sessionDuration": "900",
		"pageSize": "20", "parallelRequests": "3", "maxRetries": "4",
	})
	require.NoError(t, err)
	assert.Equal(t, plainConfig{
		AccessKeyID: "AKIA1", SecretAccessKey: "s3cret", SessionToken: "tok", DefaultRegion: "eu-central-1",
		Regions: []string{"us-east-1", "eu-west-1"}, AssumeRoleARN: roleA + ", " + roleB, AssumeRoleMode: RoleChain,
		ExternalID: "ext:1/2", RoleSessionName: "me@host", SessionDuration: 15 * time.Minute,
		PageSize: 20, ParallelRequests: 3, MaxRetries: 4,
	}, plainConfig(cfg))

	empty := map[string]string{}
	for _, s := range settings {
		empty[s.key] = " "
	}
	cfg, err = ConfigFromSettings(empty)
	require.NoError(t, err)
	assert.Equal(t, plainConfig{}, plainConfig(cfg), "an empty setting is not given")
}

func TestConfigDefaults(t *testing.T) {
	assert.Equal(t, plainConfig{
		AssumeRoleMode: RoleEach, RoleSessionName: "cloudtrail-connector", SessionDuration: time.Hour,
		PageSize: 100, ParallelRequests: 8, MaxRetries: 10,
	}, plainConfig(Config{}.withDefaults()))
}

func TestBadSettings(t *testing.T) {
	tests := map[string]struct {
		settings map[string]string
		want     []string // fields
		says     string
	}{
		"half a key":               {map[string]string{"accessKeyId": "AKIA"}, []string{"secretAccessKey"}, "accessKeyId"},
		"other half":               {map[string]string{"secretAccessKey": "x"}, []string{"accessKeyId"}, "secretAccessKey"},
		"token alone":              {map[string]string{"sessionToken": "x"}, []string{"sessionToken"}, "accessKeyId"},
		"token and half":           {map[string]string{"sessionToken": "x", "accessKeyId": "x"}, []string{"secretAccessKey"}, ""},
		"space inside a key":       {map[string]string{"accessKeyId": "A B", "secretAccessKey": "x"}, []string{"accessKeyId"}, "white space"},
		"no Region":                {map[string]string{"defaultRegion": "Frankfurt"}, []string{"defaultRegion"}, "eu-central-1"},
		"zone":                     {map[string]string{"defaultRegion": "us-east-1a"}, []string{"defaultRegion"}, ""},
		"all as default":           {map[string]string{"defaultRegion": "all"}, []string{"defaultRegion"}, ""},
		"second Region":            {map[string]string{"regions": "us-east-1,x"}, []string{"regions"}, "number 2 of 2"},
		"all and more":             {map[string]string{"regions": "us-east-1,all"}, []string{"regions"}, "stand alone"},
		"All":                      {map[string]string{"regions": "All"}, []string{"regions"}, `"all"`},
		"no role":                  {map[string]string{"assumeRoleArn": "arn:aws:iam::1:role/x"}, []string{"assumeRoleArn"}, "number 1 of 1"},
		"mode":                     {map[string]string{"assumeRoleMode": "Chain"}, []string{"assumeRoleMode"}, `"chain"`},
		"lone hub":                 {map[string]string{"assumeRoleMode": "hub", "assumeRoleArn": roleA}, []string{"assumeRoleArn"}, "single"},
		"external id":              {map[string]string{"externalId": "a b"}, []string{"externalId"}, ""},
		"short external id":        {map[string]string{"externalId": "a"}, []string{"externalId"}, ""},
		"long external id":         {map[string]string{"externalId": strings.Repeat("a", 1225)}, []string{"externalId"}, "1224"},
		"session name":             {map[string]string{"roleSessionName": "a:b"}, []string{"roleSessionName"}, ""},
		"long session name":        {map[string]string{"roleSessionName": strings.Repeat("a", 65)}, []string{"roleSessionName"}, "64"},
		"short session":            {map[string]string{"sessionDuration": "899"}, []string{"sessionDuration"}, "900"},
		"long session":             {map[string]string{"sessionDuration": "43201"}, []string{"sessionDuration"}, "43200"},
		"endless session":          {map[string]string{"sessionDuration": "9223372036854775807"}, []string{"sessionDuration"}, "43200"},
		"session of 1h":            {map[string]string{"sessionDuration": "1h"}, []string{"sessionDuration"}, "seconds"},
		"fraction of a second":     {map[string]string{"sessionDuration": "900.5"}, []string{"sessionDuration"}, "whole"},
		"zero session":             {map[string]string{"sessionDuration": "0"}, []string{"sessionDuration"}, ""},
		"chained over an hour":     {map[string]string{"sessionDuration": "3601", "assumeRoleMode": "chain", "assumeRoleArn": roleA + "," + roleB}, []string{"sessionDuration"}, "assumeRoleMode"},
		"hub over an hour":         {map[string]string{"sessionDuration": "3601", "assumeRoleMode": "hub", "assumeRoleArn": roleA + "," + roleB}, []string{"sessionDuration"}, "3600"},
		"zero page size":           {map[string]string{"pageSize": "0"}, []string{"pageSize"}, ""},
		"negative parallel":        {map[string]string{"parallelRequests": "-1"}, []string{"parallelRequests"}, ""},
		"many retries":             {map[string]string{"maxRetries": "99999999999999999999"}, []string{"maxRetries"}, ""},
		"no number":                {map[string]string{"maxRetries": "ten"}, []string{"maxRetries"}, "whole number"},
		"wrong case":               {map[string]string{"AccessKeyID": "x"}, []string{"AccessKeyID"}, `write "accessKeyId"`},
		"snake case":               {map[string]string{"assume_role_arn": "x"}, []string{"assume_role_arn"}, `write "assumeRoleArn"`},
		"slip":                     {map[string]string{"pagesise": "x"}, []string{"pagesise"}, `mean "pageSize"`},
		"unknown":                  {map[string]string{"bucket": "x"}, []string{"bucket"}, "known are accessKeyId"},
		"empty unknown":            {map[string]string{"bucket": ""}, []string{"bucket"}, ""},
		"all of them, in an order": {map[string]string{"zzz": "1", "aaa": "1", "maxRetries": "x", "regions": "x", "accessKeyId": "x", "pageSize": "x"}, []string{"secretAccessKey", "regions", "pageSize", "maxRetries", "aaa", "zzz"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg, err := ConfigFromSettings(tt.settings)
			assert.Equal(t, tt.want, fields(t, err))
			assert.ErrorContains(t, err, tt.says)
			assert.Equal(t, plainConfig{}, plainConfig(cfg))
		})
	}
}

func TestGoodSettings(t *testing.T) {
	for name, m := range map[string]map[string]string{
		"long sessions of each":    {"sessionDuration": "43200", "assumeRoleArn": roleA + "," + roleB},
		"long session of a chain":  {"sessionDuration": "43200", "assumeRoleMode": "chain", "assumeRoleArn": roleA},
		"hour in a chain":          {"sessionDuration": "3600", "assumeRoleMode": "chain", "assumeRoleArn": roleA + "," + roleB},
		"mode without roles":       {"assumeRoleMode": "hub", "externalId": "xx"},
		"new Region":               {"regions": "xx-north-9"},
		"other partitions":         {"regions": "us-gov-west-1,cn-north-1,us-iso-east-1,eusc-de-east-1"},
		"longest external id":      {"externalId": strings.Repeat("a", 1224)},
		"page over the API's size": {"pageSize": "5000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ConfigFromSettings(m)
			assert.NoError(t, err)
		})
	}
}

// New has the checks of ConfigFromSettings, and names the Config's fields.
func TestNewBadConfig(t *testing.T) {
	isolateAWS(t)
	tests := map[string]struct {
		cfg  Config
		want []string
	}{
		"nothing found": {Config{}, []string{"DefaultRegion"}},
		"numbers":       {Config{DefaultRegion: "us-east-1", PageSize: -1, ParallelRequests: -1, MaxRetries: -1, SessionDuration: -1}, []string{"SessionDuration", "PageSize", "ParallelRequests", "MaxRetries"}},
		"milliseconds":  {Config{DefaultRegion: "us-east-1", SessionDuration: time.Hour + time.Millisecond}, []string{"SessionDuration"}},
		"keys":          {Config{DefaultRegion: "us-east-1", AccessKeyID: "A"}, []string{"SecretAccessKey"}},
		"Region":        {Config{DefaultRegion: "x"}, []string{"DefaultRegion"}},
		"Regions":       {Config{Regions: []string{"us-east-1,eu-west-1"}}, []string{"Regions"}},
		"all somewhere": {Config{DefaultRegion: "us-iso-east-1", Regions: []string{"all"}}, []string{"Regions"}},
		"role, mode":    {Config{DefaultRegion: "us-east-1", AssumeRoleARN: "x", AssumeRoleMode: "y"}, []string{"AssumeRoleARN", "AssumeRoleMode"}},
		"with a Region": {Config{PageSize: -1}, []string{"DefaultRegion", "PageSize"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := New(context.Background(), tt.cfg)
			assert.Nil(t, c)
			assert.Equal(t, tt.want, fields(t, err))
		})
	}
}

func TestNewLeavesTheConfigAlone(t *testing.T) {
	isolateAWS(t)
	cfg := Config{Regions: []string{" us-east-1 "}}
	c, err := New(context.Background(), cfg)
	require.NoError(t, err)
	cfg.Regions[0] = "eu-west-1"
	assert.Equal(t, []string{"us-east-1"}, c.regions())
}

// verbs are all that apply to a value: %p and %w make fmt print raw fields,
// whatever a type says.
const verbs = "vTtbcdoOqxXUeEfFgGs"

func TestSecrets(t *testing.T) {
	isolateAWS(t)
	secrets := []string{"AKIAPLANTED", "plantedSecret", "plantedToken", "plantedExternal"}
	cfg := Config{AccessKeyID: secrets[0], SecretAccessKey: secrets[1], SessionToken: secrets[2], ExternalID: secrets[3],
		DefaultRegion: "us-east-1", AssumeRoleARN: roleA}
	c, err := New(context.Background(), cfg)
	require.NoError(t, err)

	var out strings.Builder
	values := map[string]any{
		"Config": cfg, "*Config": &cfg, "[]Config": []Config{cfg}, "map": map[string]Config{"a": cfg},
		"struct": struct{ C Config }{cfg}, "pointer in a struct": struct{ C *Config }{&cfg}, "any": []any{cfg, &cfg},
		"*Connector": c, "Connector": *c, "[]Connector": []*Connector{c}, "map of Connector": map[string]Connector{"a": *c},
		"unexported Connector": struct{ c *Connector }{c}, "unexported value": struct{ c Connector }{*c},
	}
	for name, v := range values {
		for _, verb := range verbs {
			for _, flag := range []string{"", "+", "#", "-", " ", "0", "+#20.5"} {
				fmt.Fprintf(&out, "%"+flag+string(verb)+"\n", v)
			}
		}
		fmt.Fprintln(&out, v)
		fmt.Fprint(&out, errors.New(fmt.Sprint(v)))

		var text, js bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&js, nil)} {
			slog.New(h).Info("x", "v", v, slog.Group("g", "v", v))
		}
		out.WriteString(text.String() + js.String())

		b, err := json.Marshal(v)
		require.NoError(t, err, name)
		out.Write(b)
	}
	for _, verb := range "pw" { // of the Connector even these
		for _, v := range []any{c, *c, []any{c, *c}} {
			fmt.Fprintf(&out, "%"+string(verb), v)
		}
	}
	for _, s := range secrets {
		for _, verb := range []string{"%s", "%x", "%X", "%d"} { // %d for a []byte, so without its brackets
			shown := strings.Trim(fmt.Sprintf(verb, []byte(s)), "[]")
			i := strings.Index(out.String(), shown)
			if i >= 0 {
				t.Errorf("%s in: %.300s", s, out.String()[max(0, i-200):])
			}
		}
	}
	assert.True(t, strings.Contains(out.String(), "SecretAccessKey:REDACTED"), "says that it is set")
	assert.Contains(t, fmt.Sprint(Config{DefaultRegion: "eu-west-1"}), "SecretAccessKey: ")
	assert.Equal(t, "cloudtrail.Connector", fmt.Sprintf("%v", c))
}

// A secret in the wrong place isn't quoted either.
func TestSecretsInErrors(t *testing.T) {
	const secret = "wJalrXUtnFEMI+K7 MDENG"
	m := map[string]string{"unknown": secret, "accessKeyID": secret}
	for _, s := range settings {
		m[s.key] = secret
	}
	delete(m, "sessionToken")
	_, err := ConfigFromSettings(m)
	assert.Len(t, fields(t, err), 14)
	assert.NotContains(t, err.Error(), "wJalr")
}

func FuzzConfigFromSettings(f *testing.F) {
	f.Add("regions", "us-east-1,all", "pageSize", "-1")
	f.Add("assumeRoleArn", roleA+","+roleB, "assumeRoleMode", "hub")
	f.Add("accessKeyId", "A", "secretAccessKey", "B")
	f.Add("sessionDuration", "900", "x", "")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		m := map[string]string{k1: v1, k2: v2}
		cfg, err := ConfigFromSettings(m)
		_, again := ConfigFromSettings(m)
		if fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatalf("%v, then %v", err, again)
		}
		if err != nil {
			fields(t, err)
			return
		}
		// What is accepted is accepted by New too.
		if bad := cfg.trimmed().problems(func(f string) string { return f }); len(bad) > 0 {
			t.Fatalf("%v accepted, but %v", m, bad)
		}
	})
}
