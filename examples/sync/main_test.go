package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// asProgram makes the test binary be the program itself, so that tests can kill
// it.
const asProgram = "SYNC_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// program is a command that runs the program against an address, without
// anything of the user's environment.
func program(t *testing.T, url string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, self, args...)
	home := t.TempDir()
	cmd.Env = []string{
		asProgram + "=1", "HOME=" + home, "AWS_CONFIG_FILE=" + filepath.Join(home, "none"), "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(home, "none"),
		"AWS_EC2_METADATA_DISABLED=true", "AWS_ENDPOINT_URL=" + url,
		"AWS_ACCESS_KEY_ID=" + cloudtrailtest.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + cloudtrailtest.SecretAccessKey,
	}
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// exitCode waits for a command that was started.
func exitCode(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	if err := cmd.Wait(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		require.True(t, ok, err)
		return exit.ExitCode()
	}
	return 0
}

// uids reads JSON Lines, all of them whole, and counts the records by UID.
func uids(t *testing.T, lines []byte) map[string]int {
	t.Helper()
	if len(lines) > 0 {
		require.True(t, bytes.HasSuffix(lines, []byte("\n")), "a torn line at the end")
	}
	n := map[string]int{}
	for line := range bytes.Lines(lines) {
		var r cloudtrail.CloudResource
		require.NoError(t, json.Unmarshal(line, &r), "%s", line)
		require.NotEmpty(t, r.UID)
		n[r.UID]++
	}
	return n
}

func TestUsage(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		exit int
		text []string
	}{
		"help":            {[]string{"-help"}, 0, []string{"-assume-role-arn", "-session-duration", "-plot file", "AWS_PROFILE"}},
		"unknown flag":    {[]string{"-region", "us-east-1"}, 2, []string{"-region", "-help"}},
		"an argument":     {[]string{"us-east-1", "-demo"}, 2, []string{`"us-east-1"`}},
		"no value":        {[]string{"-state", ""}, 2, []string{"-state"}},
		"several":         {[]string{"-page-size", "x", "-lookback-days", "0", "-filter", "a=b"}, 2, []string{"-page-size: ", "-lookback-days: ", "-filter: "}},
		"bad since":       {[]string{"-since", "yesterday"}, 2, []string{"token"}},
		"bad role":        {[]string{"-regions", "us-east-1", "-assume-role-arn", "reader"}, 2, []string{"-assume-role-arn: "}},
		"bad mode":        {[]string{"-assume-role-mode", "all"}, 2, []string{"-assume-role-mode: "}},
		"odd picture":     {[]string{"-plot", "a.gif"}, 2, []string{".png or .svg"}},
		"one file twice":  {[]string{"-out", "a", "-state", "./a"}, 2, []string{"a file each"}},
		"short session":   {[]string{"-regions", "us-east-1", "-session-duration", "5s"}, 2, []string{"-session-duration: "}},
		"too many events": {[]string{"-parallel-requests", "-1"}, 2, []string{"-parallel-requests: "}},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			assert.Equal(t, test.exit, run(t.Context(), test.args, &stdout, &stderr))
			assert.Empty(t, stdout.String())
			for _, text := range test.text {
				assert.Contains(t, stderr.String(), text)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	s, err := parseFlags(strings.Fields("-regions us-east-1,eu-west-1 -session-duration 30m -page-size 20 -parallel-requests 3 -max-retries 4 -filter ReadOnly=false -external-id xyz -since 2026-01-02T03:04:05Z"), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"us-east-1", "eu-west-1"}, s.config.Regions)
	assert.Equal(t, 30*time.Minute, s.config.SessionDuration)
	assert.Equal(t, []int{20, 3, 4}, []int{s.config.PageSize, s.config.ParallelRequests, s.config.MaxRetries})
	assert.Equal(t, "xyz", s.config.ExternalID)
	assert.Equal(t, cloudtrail.Filter{Key: "ReadOnly", Value: "false"}, s.options.Filter)
	assert.EqualValues(t, 90, s.options.LookbackDays, "-since would be cut off at the default otherwise")
	s, err = parseFlags(strings.Fields("-lookback-days 0.5 -since 2026-01-02T03:04:05Z"), nil)
	require.NoError(t, err)
	assert.EqualValues(t, 0.5, s.options.LookbackDays)
}

// Whatever fails, the exit code is 1, what could be read is written, and
// standard error says what to do.
func TestFailures(t *testing.T) {
	const role = "arn:aws:iam::222233334444:role/reader"
	for name, test := range map[string]struct {
		prepare func(*cloudtrailtest.Fake)
		env     []string
		args    []string
		records int
		text    []string
	}{
		"no permission": {
			prepare: func(f *cloudtrailtest.Fake) {
				f.Account(cloudtrailtest.AccountID).Region("eu-west-1").Deny("no identity-based policy allows it")
			},
			records: 3, text: []string{cloudtrailtest.AccountID + "/eu-west-1", "AccessDenied", "cloudtrail:LookupEvents", "-since ct1."},
		},
		"Region not enabled": {
			prepare: func(f *cloudtrailtest.Fake) {
				f.Account(cloudtrailtest.AccountID).Region("eu-west-1").SetEnabled(false)
			},
			records: 3, text: []string{"/eu-west-1", "nable"},
		},
		"wrong key":        {env: []string{"AWS_ACCESS_KEY_ID=AKIAWRONGWRONGWRONGX"}, text: []string{"access key", "Nothing was read"}},
		"no credentials":   {env: []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}, text: []string{"AWS_PROFILE"}},
		"offline":          {env: []string{"AWS_ENDPOINT_URL=http://127.0.0.1:1"}, args: []string{"-max-retries", "1"}, text: []string{"check network"}},
		"role not trusted": {args: []string{"-assume-role-arn", role}, text: []string{role, "trust policy"}},
		"unwritable out":   {args: []string{"-out", "none/x"}, text: []string{"-out: ", "a folder that you may write to"}},
		"unwritable state": {args: []string{"-state", "none/x"}, text: []string{"-state: ", "a folder that you may write to"}},
		"unwritable plot":  {args: []string{"-plot", "none/x.png"}, text: []string{"-plot: ", "a folder that you may write to"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := cloudtrailtest.New()
			fake.Account("222233334444").AddRole(cloudtrailtest.Role{Name: "reader", Trusts: []string{"999999999999"}})
			now := time.Now()
			fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetHistory(cloudtrailtest.Uniform(1, 3, now.Add(-time.Hour), now.Add(-time.Minute)))
			if test.prepare != nil {
				test.prepare(fake)
			}
			cmd, stdout, stderr := program(t, fake.Start(t), append([]string{"-regions", "us-east-1,eu-west-1"}, test.args...)...)
			cmd.Dir = t.TempDir()
			cmd.Env = append(cmd.Env, test.env...)
			require.NoError(t, cmd.Start())
			assert.Equal(t, 1, exitCode(t, cmd))
			assert.Len(t, uids(t, stdout.Bytes()), test.records)
			for _, text := range test.text {
				assert.Contains(t, stderr.String(), text)
			}
			assert.NotContains(t, stderr.String(), cloudtrailtest.SecretAccessKey)
		})
	}
}

// After a failure the same command reads what is owed.
func TestGoesOnAfterFailure(t *testing.T) {
	fake := cloudtrailtest.New()
	now := time.Now()
	history := cloudtrailtest.Uniform(1, 30, now.Add(-time.Hour), now.Add(-30*time.Minute))
	denied := fake.Account(cloudtrailtest.AccountID).Region("eu-west-1")
	denied.SetHistory(history)
	denied.Deny("not today")
	url, dir := fake.Start(t), t.TempDir()
	sync := func() (int, string) {
		cmd, stdout, stderr := program(t, url, "-regions", "us-east-1,eu-west-1", "-state", "state", "-out", "out", "-report")
		cmd.Dir = dir
		require.NoError(t, cmd.Start())
		code := exitCode(t, cmd)
		assert.Empty(t, stdout.String())
		return code, stderr.String()
	}
	code, said := sync()
	assert.Equal(t, 1, code)
	assert.Contains(t, said, "the same command again goes on from here")
	assert.Contains(t, said, "failed: LookupEvents AccessDenied")
	denied.Deny("")
	code, said = sync()
	assert.Zero(t, code, said)
	assert.Regexp(t, `eu-west-1 +30 +1 .*complete`, said)
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	require.NoError(t, err)
	assert.Len(t, uids(t, out), 30)
}

func TestQuietRawAndTest(t *testing.T) {
	fake := cloudtrailtest.New()
	now := time.Now()
	region := fake.Account(cloudtrailtest.AccountID).Region("us-east-1")
	region.SetHistory(cloudtrailtest.Uniform(1, 3, now.Add(-time.Hour), now.Add(-time.Minute)))
	url := fake.Start(t)
	sync := func(args ...string) (int, string, string) {
		cmd, stdout, stderr := program(t, url, append([]string{"-regions", "us-east-1"}, args...)...)
		require.NoError(t, cmd.Start())
		return exitCode(t, cmd), stdout.String(), stderr.String()
	}
	code, records, said := sync("-quiet", "-raw")
	assert.Zero(t, code)
	assert.Empty(t, said)
	assert.Equal(t, 3, strings.Count(records, `"RAW":"{`))

	code, records, said = sync("-test")
	assert.Zero(t, code)
	assert.Empty(t, records)
	assert.Contains(t, said, "good")

	region.Deny("no")
	code, records, said = sync("-test", "-quiet")
	assert.Equal(t, 1, code)
	assert.Empty(t, records)
	assert.Contains(t, said, "cloudtrail:LookupEvents")
}

// The demo is a minute of somebody's time; here it is none.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	state, picture := filepath.Join(dir, "state"), filepath.Join(dir, "a.png")
	synctest.Test(t, func(t *testing.T) {
		var stdout, stderr strings.Builder
		began := time.Now()
		require.Zero(t, run(t.Context(), []string{"-demo", "-report", "-plot", picture}, &stdout, &stderr), "%s", &stderr)
		assert.Less(t, time.Since(began), time.Minute)
		events := 0
		for _, p := range demoRegions {
			events += p.events
		}
		seen := map[string]bool{}
		lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
		for _, line := range lines {
			var record map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &record), line)
			for name := range record {
				seen[name] = true
			}
		}
		assert.Len(t, lines, events)
		var names []string
		for _, a := range cloudtrail.Describe().Attributes {
			names = append(names, a.Name)
			assert.Contains(t, seen, a.Name)
		}
		assert.Len(t, seen, len(names), "nothing but the %d attributes", len(names))
		for _, text := range []string{"-state", "a second run", "Region not enabled", "8 of 9 read", "last 15 minutes"} {
			assert.Contains(t, stderr.String(), text)
		}
		assert.FileExists(t, picture)

		// The second run does what the first one says that it would.
		for _, want := range []struct{ least, most int }{{events, events}, {0, 100}} {
			stdout.Reset()
			stderr.Reset()
			require.Zero(t, run(t.Context(), []string{"-demo", "-state", state}, &stdout, &stderr), "%s", &stderr)
			n := strings.Count(stdout.String(), "\n")
			assert.GreaterOrEqual(t, n, want.least)
			assert.LessOrEqual(t, n, want.most)
			time.Sleep(10 * time.Second)
		}
	})
}
