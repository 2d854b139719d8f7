package otelreceiver

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.yaml.in/yaml/v3"
)

// load returns what the Collector would make of the receiver's YAML.
func load(t *testing.T, text string) (*Config, error) {
	t.Helper()
	var raw map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &raw))
	cfg := NewFactory().CreateDefaultConfig().(*Config)
	if err := confmap.NewFromStringMap(raw).Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg, confmap.Validate(cfg)
}

func TestConfigReachesTheConnector(t *testing.T) {
	cfg, err := load(t, `
access_key_id: AKIAIOSFODNN7EXAMPLE
secret_access_key: the-secret
session_token: the-session
default_region: eu-central-1
regions: [us-east-1, eu-west-1]
assume_role_arn: arn:aws:iam::111122223333:role/a,b, arn:aws:iam::444455556666:role/b
assume_role_mode: hub
external_id: the-external-id
role_session_name: otel
session_duration: 30m
page_size: 20
parallel_requests: 3
max_retries: 4
lookback_days: 0.5
filter: ReadOnly=false
raw_events: true
collection_interval: 90s
storage: file_storage/state
`)
	require.NoError(t, err)
	connector, err := cfg.connector()
	require.NoError(t, err)
	// A Config redacts itself where it is printed, a message of require included.
	require.True(t, assert.ObjectsAreEqual(cloudtrail.Config{
		AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "the-secret", SessionToken: "the-session",
		DefaultRegion: "eu-central-1", Regions: []string{"us-east-1", "eu-west-1"},
		AssumeRoleARN:  "arn:aws:iam::111122223333:role/a,b, arn:aws:iam::444455556666:role/b",
		AssumeRoleMode: cloudtrail.RoleHub, ExternalID: "the-external-id", RoleSessionName: "otel",
		SessionDuration: 30 * time.Minute, PageSize: 20, ParallelRequests: 3, MaxRetries: 4,
	}, connector), "%v", connector)
	sync, err := cfg.syncOptions()
	require.NoError(t, err)
	require.Equal(t, cloudtrail.SyncOptions{LookbackDays: 0.5, Filter: cloudtrail.Filter{Key: "ReadOnly", Value: "false"}}, sync)
	require.True(t, cfg.RawEvents)
	require.Equal(t, 90*time.Second, cfg.CollectionInterval)
	require.Equal(t, "file_storage/state", cfg.StorageID.String())
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), "the-")
}

func TestConfigDefaults(t *testing.T) {
	cfg, err := load(t, ``)
	require.NoError(t, err)
	connector, err := cfg.connector()
	require.NoError(t, err)
	require.Equal(t, cloudtrail.Config{}, connector)
	require.Equal(t, 5*time.Minute, cfg.CollectionInterval)
	require.EqualValues(t, 7, cfg.LookbackDays)
}

// Everything that is wrong is told at once, by the names of the file.
func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		yaml string
		want []cloudtrail.ConfigError
	}{
		"secret without key": {"secret_access_key: the-secret", []cloudtrail.ConfigError{{Field: "access_key_id", Reason: "is missing, but secret_access_key is set"}}},
		"Region":             {"regions: [us-east-1, Frankfurt]", []cloudtrail.ConfigError{{Field: "regions"}}},
		"role":               {"assume_role_arn: reader", []cloudtrail.ConfigError{{Field: "assume_role_arn"}}},
		"duration":           {"session_duration: 900500ms", []cloudtrail.ConfigError{{Field: "session_duration"}}},
		"lookback":           {"lookback_days: 0", []cloudtrail.ConfigError{{Field: "lookback_days"}}},
		"filter":             {"filter: readOnly=false", []cloudtrail.ConfigError{{Field: "filter"}}},
		"interval":           {"collection_interval: 0s", []cloudtrail.ConfigError{{Field: "collection_interval"}}},
		"several": {"{page_size: -1, max_retries: -1, lookback_days: -1, parallel_requests: -1, assume_role_mode: all, external_id: x, default_region: x, role_session_name: x}",
			[]cloudtrail.ConfigError{{Field: "default_region"}, {Field: "assume_role_mode"}, {Field: "external_id"}, {Field: "role_session_name"},
				{Field: "page_size"}, {Field: "parallel_requests"}, {Field: "max_retries"}, {Field: "lookback_days"}}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := load(t, c.yaml)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "the-secret")
			got := parts(cfg.Validate())
			require.Len(t, got, len(c.want), "%v", got)
			for i, want := range c.want {
				var bad *cloudtrail.ConfigError
				require.ErrorAs(t, got[i], &bad)
				require.Equal(t, want.Field, bad.Field)
				require.Contains(t, bad.Reason, want.Reason)
				require.Contains(t, err.Error(), bad.Error())
			}
		})
	}
	_, err := load(t, "page_sise: 10")
	require.ErrorContains(t, err, "page_sise")
}

// What the README has somebody paste is collector.yaml, and that is valid.
func TestReadme(t *testing.T) {
	collector, err := os.ReadFile("collector.yaml")
	require.NoError(t, err)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "```yaml\n"+string(collector)+"```\n")
	var file struct {
		Receivers map[string]yaml.Node
	}
	require.NoError(t, yaml.Unmarshal(collector, &file))
	node := file.Receivers["cloudtrail"]
	text, err := yaml.Marshal(&node)
	require.NoError(t, err)
	_, err = load(t, string(text))
	require.NoError(t, err)
}
