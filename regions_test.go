package cloudtrail

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// isolateAWS keeps a test from the environment, the shared config files and the
// instance metadata of the machine it runs on.
func isolateAWS(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // restores it at the end
			os.Unsetenv(name)
		}
	}
	empty := filepath.Join(t.TempDir(), "none")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	t.Setenv("AWS_CONFIG_FILE", empty)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", empty)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// serveMetadata serves EC2 instance metadata that knows a Region.
func serveMetadata(t *testing.T, region string) {
	t.Helper()
	answerMetadata(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			w.Write([]byte("token"))
		case "/latest/dynamic/instance-identity/document":
			w.Write([]byte(`{"region":"` + region + `"}`))
		default:
			http.NotFound(w, r)
		}
	})
}

// answerMetadata has h answer for the EC2 instance metadata.
func answerMetadata(t *testing.T, h http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
}

func TestPartitionRegions(t *testing.T) {
	assert.Len(t, defaultRegions, 17)
	assert.Len(t, partitionRegions["aws"], 34)
	seen := map[string]bool{}
	for partition, regions := range partitionRegions {
		for _, r := range regions {
			assert.False(t, seen[r], "%s twice", r)
			seen[r] = true
			assert.Regexp(t, regionPattern, r)
			assert.Equal(t, partition, awsPartition(r))
		}
	}
	assert.Equal(t, "", awsPartition("us-isob-east-1"))
	assert.Equal(t, "", awsPartition("eusc-de-east-1"))

	assert.True(t, enabledByDefault("eu-north-1"))
	assert.True(t, enabledByDefault("cn-northwest-1"))
	assert.True(t, enabledByDefault("us-gov-east-1"))
	assert.False(t, enabledByDefault("eu-south-1"))
	assert.False(t, enabledByDefault("cn-south-9"))
	assert.False(t, enabledByDefault("us-iso-east-1"))
}

func TestRegionSearch(t *testing.T) {
	all := []string{"all"}
	chinese := "arn:aws-cn:iam::111122223333:role/a"
	tests := map[string]struct {
		cfg      Config
		env      string // AWS_REGION
		metadata string
		host     *aws.Config
		sts      string
		regions  []string
	}{
		"default Region":             {cfg: Config{DefaultRegion: "eu-west-1"}, env: "us-west-2", sts: "eu-west-1", regions: []string{"eu-west-1"}},
		"Regions":                    {cfg: Config{Regions: []string{"eu-west-1", "eu-west-2", "eu-west-1"}}, env: "us-west-2", sts: "eu-west-1", regions: []string{"eu-west-1", "eu-west-2"}},
		"both":                       {cfg: Config{DefaultRegion: "us-west-1", Regions: []string{"eu-west-1"}}, sts: "us-west-1", regions: []string{"eu-west-1"}},
		"environment":                {env: "us-west-2", metadata: "eu-north-1", sts: "us-west-2", regions: []string{"us-west-2"}},
		"metadata":                   {metadata: "eu-north-1", sts: "eu-north-1", regions: []string{"eu-north-1"}},
		"host":                       {env: "us-west-2", host: &aws.Config{Region: "ca-west-1", Credentials: aws.AnonymousCredentials{}}, sts: "ca-west-1", regions: []string{"ca-west-1"}},
		"host without a Region":      {env: "us-west-2", host: &aws.Config{Credentials: aws.AnonymousCredentials{}}, sts: "us-west-2", regions: []string{"us-west-2"}},
		"config over the host":       {cfg: Config{DefaultRegion: "eu-west-1"}, host: &aws.Config{Region: "ca-west-1"}, sts: "eu-west-1", regions: []string{"eu-west-1"}},
		"all":                        {cfg: Config{Regions: all}, sts: "us-east-1", regions: partitionRegions["aws"]},
		"all, environment":           {cfg: Config{Regions: all}, env: "eu-west-3", sts: "eu-west-3", regions: partitionRegions["aws"]},
		"all, China":                 {cfg: Config{Regions: all, DefaultRegion: "cn-northwest-1"}, sts: "cn-northwest-1", regions: partitionRegions["aws-cn"]},
		"all, China on EC2":          {cfg: Config{Regions: all}, metadata: "cn-north-1", sts: "cn-north-1", regions: partitionRegions["aws-cn"]},
		"all, China by role":         {cfg: Config{Regions: all, AssumeRoleARN: chinese}, sts: "cn-north-1", regions: partitionRegions["aws-cn"]},
		"all, GovCloud":              {cfg: Config{Regions: all}, env: "us-gov-east-1", sts: "us-gov-east-1", regions: partitionRegions["aws-us-gov"]},
		"Region newer than the list": {cfg: Config{DefaultRegion: "xx-north-9"}, sts: "xx-north-9", regions: []string{"xx-north-9"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			isolateAWS(t)
			if tt.env != "" {
				t.Setenv("AWS_REGION", tt.env)
			}
			if tt.metadata != "" {
				serveMetadata(t, tt.metadata)
			}
			var opts []Option
			if tt.host != nil {
				opts = append(opts, WithAWSConfig(*tt.host))
			}
			c, err := New(context.Background(), tt.cfg, opts...)
			require.NoError(t, err)
			assert.Equal(t, tt.regions, c.regions())
			assert.Equal(t, tt.sts, c.cfg.DefaultRegion)
			assert.Equal(t, tt.sts, c.auth.sessions[0].cfg.Region)
			assert.Equal(t, slices.Equal(tt.cfg.Regions, all), c.allRegions())
		})
	}
}

// By default nothing is logged, whatever the credential chain meets on its way.
func TestQuietByDefault(t *testing.T) {
	isolateAWS(t)
	answerMetadata(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no IMDSv2 here", http.StatusForbidden)
	})
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	require.NoError(t, err)
	defer stderr.Close()
	defer func(real *os.File) { os.Stderr = real }(os.Stderr)
	os.Stderr = stderr

	_, err = New(t.Context(), Config{})
	assert.Error(t, err)
	c, err := New(t.Context(), Config{DefaultRegion: "us-east-1"})
	require.NoError(t, err)
	assert.Error(t, c.Test(t.Context()))
	said, err := os.ReadFile(stderr.Name())
	require.NoError(t, err)
	assert.Empty(t, string(said))
}

func TestNoRegion(t *testing.T) {
	isolateAWS(t)
	t.Run("a metadata service that is silent", func(t *testing.T) {
		stop := make(chan struct{})
		answerMetadata(t, func(http.ResponseWriter, *http.Request) { <-stop })
		defer close(stop)
		_, err := New(context.Background(), Config{}) // it comes back at all
		assert.Equal(t, []string{"DefaultRegion"}, fields(t, err))
	})
	t.Run("garbage in the environment", func(t *testing.T) {
		t.Setenv("AWS_REGION", "somewhere")
		_, err := New(context.Background(), Config{})
		assert.Equal(t, []string{"DefaultRegion"}, fields(t, err))
		assert.ErrorContains(t, err, "AWS_REGION")
	})
	t.Run("a context that is over", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := New(ctx, Config{})
		assert.ErrorIs(t, err, context.Canceled)
	})
	t.Run("a profile that doesn't exist", func(t *testing.T) {
		t.Setenv("AWS_PROFILE", "none")
		_, err := New(context.Background(), Config{PageSize: -1})
		assert.ErrorContains(t, err, "none")
		assert.ErrorContains(t, err, "PageSize", "everything is reported at once")
	})
}
