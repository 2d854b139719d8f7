package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloudtrail-connector/cloudtrail"
)

func TestTornLine(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for name, test := range map[string]struct {
		before, after, err string
	}{
		"new":           {"", "", ""},
		"whole":         {"{\"a\":1}\n", "{\"a\":1}\n", ""},
		"torn":          {"{\"a\":1}\n{\"b\":", "{\"a\":1}\n", ""},
		"only torn":     {"{\"b\":", "", ""},
		"long":          {"{\"a\":1}\n{\"b\":\"" + long, "{\"a\":1}\n", ""},
		"long before":   {"{\"a\":\"" + long + "\"}\n{\"b", "{\"a\":\"" + long + "\"}\n", ""},
		"zeros":         {"{\"a\":1}\n\x00\x00\x00", "{\"a\":1}\n", ""},
		"no line feed":  {"{\"a\":1}\n{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n", ""},
		"somebody's":    {"dear diary", "dear diary", "name another file"},
		"their letters": {"{}\n" + long, "{}\n" + long, "name another file"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "out")
			require.NoError(t, os.WriteFile(file, []byte(test.before), 0o600))
			f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND, 0)
			require.NoError(t, err)
			defer f.Close()
			_, err = cutTornLine(f)
			if test.err == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, test.err)
			}
			after, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.True(t, test.after == string(after), "%.100q", after)
		})
	}
}

// A state that can't be read is no reason to read everything again unasked.
func TestCorruptedState(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "garbage": "garbage\n", "cut": "ct1.eyJmIjoiIiwicCI6", "zeros": "\x00\x00\x00\x00"} {
		t.Run(name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			require.NoError(t, os.WriteFile(state, []byte(text), 0o600))
			var stdout, stderr strings.Builder
			assert.Equal(t, exitUsage, run(t.Context(), []string{"-demo", "-state", state}, &stdout, &stderr))
			assert.Empty(t, stdout.String())
			assert.Contains(t, stderr.String(), state)
			assert.Contains(t, stderr.String(), "remove it")
			after, err := os.ReadFile(state)
			require.NoError(t, err)
			assert.Equal(t, text, string(after), "it is evidence")
		})
	}
}

// What can't be stored isn't in the state either.
func TestDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	state := filepath.Join(t.TempDir(), "state")
	var stdout, stderr strings.Builder
	assert.Equal(t, exitFailed, run(t.Context(), []string{"-demo", "-regions", "us-east-1", "-state", state, "-out", "/dev/full"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "no space left")
	assert.Contains(t, stderr.String(), "0 records")
}

// A schedule may start the next run while this one still reads.
func TestOneRunAtATime(t *testing.T) {
	folder := t.TempDir()
	out, state := filepath.Join(folder, "events.jsonl"), filepath.Join(folder, "events.state")
	other := filepath.Join(folder, "other.jsonl")
	for name, runs := range map[string][2][]string{
		"both":               {{"-out", out, "-state", state}, {"-out", out, "-state", state}},
		"-out":               {{"-out", out}, {"-out", out}},
		"-state":             {{"-state", state}, {"-state", state}},
		"-out, one -state":   {{"-out", out, "-state", state}, {"-out", out}},
		"-state, other -out": {{"-out", out, "-state", state}, {"-out", other, "-state", state}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parseFlags(append(runs[0], "-demo"), io.Discard)
			require.NoError(t, err)
			first, err := openStore(s, io.Discard, func(string) {})
			require.NoError(t, err)
			require.NoError(t, first.write([]cloudtrail.CloudResource{{UID: "1"}}))

			var stderr strings.Builder
			assert.Equal(t, exitFailed, run(t.Context(), append(runs[1], "-demo"), io.Discard, &stderr))
			assert.Contains(t, stderr.String(), "another run is writing")

			first.close()
			again, err := openStore(s, io.Discard, func(string) {})
			require.NoError(t, err, "the lock goes with its run")
			again.close()
		})
	}
}

// The state may be a link; its own name for what it writes first must not be
// anybody else's.
func TestNamesBesideTheState(t *testing.T) {
	folder := t.TempDir()
	real, link := filepath.Join(folder, "real"), filepath.Join(folder, "link")
	out := filepath.Join(folder, "real.tmp")
	require.NoError(t, os.Symlink("real", link))
	assert.Equal(t, real, follow(link), "also while it leads nowhere yet")
	before := ""
	synctest.Test(t, func(t *testing.T) {
		before = cloudtrail.SinceTime(time.Now().Add(-time.Hour)).String()
		require.NoError(t, os.WriteFile(real, []byte(before), 0o600))
		var stderr strings.Builder
		require.Zero(t, run(t.Context(), []string{"-demo", "-regions", "us-east-1", "-state", link, "-out", out}, io.Discard, &stderr), "%s", &stderr)
	})
	after, err := os.ReadFile(real)
	require.NoError(t, err)
	assert.NotEqual(t, before, strings.TrimSpace(string(after)), "the link's file is what is kept up to date")
	info, err := os.Lstat(link)
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&os.ModeSymlink)
	assert.FileExists(t, out)
}

// The state of another filter says which file it is, and the way out.
func TestStateOfAnotherFilter(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		var stderr strings.Builder
		require.Zero(t, run(t.Context(), []string{"-demo", "-regions", "us-east-1", "-state", state, "-filter", "ReadOnly=false"}, io.Discard, &stderr), "%s", &stderr)
		stderr.Reset()
		assert.Equal(t, exitUsage, run(t.Context(), []string{"-demo", "-regions", "us-east-1", "-state", state}, io.Discard, &stderr))
		assert.Contains(t, stderr.String(), "-state: "+state)
		assert.Contains(t, stderr.String(), "-filter")
		assert.NotContains(t, stderr.String(), "cloudtrail: ")
	})
}
