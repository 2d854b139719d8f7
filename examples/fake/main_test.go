package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestArguments(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.json")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for name, test := range map[string]struct {
		args []string
		exit int
		text string
	}{
		"help":             {[]string{"-h"}, 0, "-events"},
		"unknown flag":     {[]string{"-port", "1"}, 2, "-port"},
		"extra argument":   {[]string{"serve"}, 2, `"serve"`},
		"negative latency": {[]string{"-latency", "-1s"}, 2, "-latency"},
		"no rate":          {[]string{"-rate", "0"}, 2, "-rate"},
		"odd rate":         {[]string{"-rate", "NaN"}, 2, "-rate"},
		"no such file":     {[]string{"-events", filepath.Join(dir, "none.json")}, 1, "none.json"},
		"no events":        {[]string{"-events", empty}, 1, "empty.json"},
		"no such address":  {[]string{"-addr", "nowhere"}, 1, "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			assert.Equal(t, test.exit, run(t.Context(), test.args, &stdout, &stderr))
			assert.Contains(t, stderr.String(), test.text)
			assert.Empty(t, stdout.String())
		})
	}
}

// start runs the program and returns its environment, its comments and a
// function that stops it.
func start(t *testing.T, args ...string) (env map[string]string, notes []string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	exit := make(chan int, 1)
	go func() {
		code := run(ctx, args, write, io.Discard)
		_ = write.Close()
		exit <- code
	}()
	env = map[string]string{}
	for lines := bufio.NewScanner(read); lines.Scan(); {
		note, isNote := strings.CutPrefix(lines.Text(), "# ")
		if isNote {
			notes = append(notes, note)
			if strings.HasPrefix(note, "ready") {
				break
			}
			continue
		}
		name, value, ok := strings.Cut(lines.Text(), "=")
		require.True(t, ok, lines.Text())
		env[name] = value
	}
	return env, notes, func() int {
		cancel()
		return <-exit
	}
}

func lookup(t *testing.T, env map[string]string) int {
	t.Helper()
	client := awscloudtrail.New(awscloudtrail.Options{
		Region:       env["AWS_REGION"],
		BaseEndpoint: aws.String(env["AWS_ENDPOINT_URL"]),
		Credentials:  credentials.NewStaticCredentialsProvider(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], ""),
	})
	n := 0
	pages := awscloudtrail.NewLookupEventsPaginator(client, &awscloudtrail.LookupEventsInput{
		StartTime: aws.Time(time.Now().Add(-7 * 24 * time.Hour)),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		n += len(page.Events)
	}
	return n
}

func TestServes(t *testing.T) {
	env, notes, stop := start(t, "-latency", "0", "-rate", "1000")
	assert.Len(t, env, 5)
	assert.Equal(t, env["AWS_REGION"], env["AWS_DEFAULT_REGION"])
	assert.Len(t, notes, 9+1+3+1)
	assert.Equal(t, 400, lookup(t, env))
	assert.Equal(t, 0, stop())
}

func TestServesAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"Events":[{"EventId":"1","EventTime":"2020-01-01T00:00:00Z"},{"EventId":"2","EventTime":1577836801}]}`), 0o600))
	env, notes, stop := start(t, "-events", file, "-latency", "0")
	assert.Contains(t, notes, "account 111122223333 Region us-east-1: 2 events")
	assert.Equal(t, 2, lookup(t, env))
	assert.Equal(t, 0, stop())
}
