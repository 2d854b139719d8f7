package cloudtrailtest_test

import (
	"net/http"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// doer is an HTTP client that shows each answer to a function.
type doer struct {
	see  func(*http.Response, error) (*http.Response, error)
	next http.RoundTripper
}

func (d doer) Do(r *http.Request) (*http.Response, error) { return d.see(d.next.RoundTrip(r)) }

// withKey returns a configuration with another key.
func withKey(cfg aws.Config, id, secret, token string) aws.Config {
	cfg.Credentials = credentials.NewStaticCredentialsProvider(id, secret, token)
	return cfg
}

// realEvents returns real events, which stand beside the project and not in it.
func realEvents(t *testing.T) []cloudtrailtest.Event {
	t.Helper()
	file, err := os.Open("../../shared/data/stratus-events.json")
	if err != nil {
		t.Skip("no real events here")
	}
	defer file.Close()
	events, err := cloudtrailtest.LoadEvents(file)
	require.NoError(t, err)
	require.Len(t, events, 310)
	return events
}
