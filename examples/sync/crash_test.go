package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Killed 50 times, the program has the whole history on the disk in the end,
// and wrote little twice.
func TestCrash(t *testing.T) {
	const (
		kills, pageSize, parallel = 50, 8, 8
		events                    = 800 // of each account and Region
	)
	fake := cloudtrailtest.New()
	began := time.Now()
	names := strings.Split("us-east-1,us-east-2,us-west-1,us-west-2,eu-west-1,eu-west-2,eu-central-1,sa-east-1", ",")
	var roles []string
	var regions []*cloudtrailtest.Region
	want := map[string]bool{}
	// add puts an event into the overlap of all Regions.
	add := func(name string) {
		for i, r := range regions {
			e := cloudtrailtest.Event{EventID: name + strconv.Itoa(i), EventName: "Late", EventTime: began.Add(-5 * time.Minute)}
			want[e.EventID] = true
			r.Add(e)
		}
	}
	for _, id := range []string{"222233334444", "333344445555", "444455556666"} {
		account := fake.Account(id)
		roles = append(roles, account.AddRole(cloudtrailtest.Role{Name: "reader"}))
		for _, name := range names {
			seed := uint64(len(regions) + 1)
			history := cloudtrailtest.Uniform(seed, events, began.Add(-6*24*time.Hour), began.Add(-20*time.Minute))
			account.Region(name).SetHistory(cloudtrailtest.WithEventSize(history, 100))
			regions = append(regions, account.Region(name))
			for i := range events {
				want[cloudtrailtest.EventID(seed, i)] = true
			}
		}
	}
	add("early-")

	url, dir := fake.Start(t), t.TempDir()
	out, state := filepath.Join(dir, "out"), filepath.Join(dir, "state")
	args := []string{"-regions", strings.Join(names, ","), "-assume-role-arn", strings.Join(roles, ","), "-parallel-requests", strconv.Itoa(parallel), "-out", out, "-state", state}
	random := rand.New(rand.NewPCG(1, uint64(began.UnixNano())))
	for i := range kills {
		if i == kills/2 {
			add("late-")
		}
		before := size(out)
		cmd, _, stderr := program(t, url, append(args, "-page-size", strconv.Itoa(pageSize))...)
		require.NoError(t, cmd.Start())
		exited := make(chan int, 1)
		go func() { exited <- exitCode(t, cmd) }()
		// A record has some 350 bytes: somewhere in the next 400 records.
		grown := random.Int64N(400 * 350)
		for size(out)-before < grown {
			select {
			case code := <-exited:
				require.Fail(t, "it ended by itself", "exit code %d: %s", code, stderr)
			case <-time.After(time.Millisecond):
			}
		}
		time.Sleep(time.Duration(random.Int64N(int64(20 * time.Millisecond))))
		_ = cmd.Process.Kill()
		require.Equal(t, -1, <-exited, "not killed: %s", stderr)

		text, err := os.ReadFile(state)
		if err == nil {
			_, err = cloudtrail.ParseSyncToken(strings.TrimSpace(string(text)))
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, os.ErrNotExist)
		}
		if i%5 == 4 { // a kill seldom tears a line; a crash of the machine does
			f, err := os.OpenFile(out, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString(`{"UID":"half of a rec`)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
	}

	cmd, stdout, stderr := program(t, url, append(args, "-page-size", "50")...)
	require.NoError(t, cmd.Start())
	require.Zero(t, exitCode(t, cmd), "%s", stderr)
	assert.Empty(t, stdout.String())

	lines, err := os.ReadFile(out)
	require.NoError(t, err)
	got := uids(t, lines)
	written := 0
	for uid, n := range got {
		written += n
		assert.True(t, want[uid], "%s is made up", uid)
	}
	missing := 0
	for uid := range want {
		if got[uid] == 0 {
			missing++
		}
	}
	assert.Zero(t, missing, "of %d events", len(want))
	twice := written - len(got)
	t.Logf("%d events, %d records written twice", len(want), twice)
	// Each run reads the overlap again: one event of each Region, then two.
	assert.LessOrEqual(t, twice, kills*((parallel+1)*pageSize+len(regions))+kills/2*len(regions), "more than the pages in flight and the overlap")
}

func size(name string) int64 {
	info, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Ctrl-C ends the program although AWS is silent, and the same command goes on.
func TestInterrupt(t *testing.T) {
	const events = 100
	fake := cloudtrailtest.New()
	now := time.Now()
	fake.Account(cloudtrailtest.AccountID).Region("us-east-1").SetHistory(cloudtrailtest.Uniform(1, events, now.Add(-time.Hour), now.Add(-20*time.Minute)))
	var silent atomic.Bool
	fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		if c.Action == "LookupEvents" && c.N == 2 {
			silent.Store(true)
			return cloudtrailtest.Silence()
		}
		return nil
	})
	url, dir := fake.Start(t), t.TempDir()
	out, state := filepath.Join(dir, "out"), filepath.Join(dir, "state")
	args := []string{"-regions", "us-east-1", "-out", out, "-state", state}

	cmd, _, stderr := program(t, url, args...)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return silent.Load() && size(state) > 0 }, time.Minute, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Equal(t, 1, exitCode(t, cmd), "%s", stderr)
	assert.Contains(t, stderr.String(), "Stopped: 50 records")
	assert.Contains(t, stderr.String(), "the same command again goes on from here")
	assert.NotContains(t, stderr.String(), "Failed")

	fake.SetFault(nil)
	cmd, _, stderr = program(t, url, args...)
	require.NoError(t, cmd.Start())
	require.Zero(t, exitCode(t, cmd), "%s", stderr)
	lines, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Len(t, uids(t, lines), events)
	assert.LessOrEqual(t, bytes.Count(lines, []byte("\n")), events+2, "what was stored isn't read again, but for the instant where it stopped")

	// Where nothing was read, the same command will do.
	silent.Store(false)
	fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		if c.Action != "LookupEvents" {
			return nil
		}
		silent.Store(true)
		return cloudtrailtest.Silence()
	})
	cmd, _, stderr = program(t, url, "-regions", "us-east-1")
	require.NoError(t, cmd.Start())
	require.Eventually(t, silent.Load, time.Minute, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Equal(t, 1, exitCode(t, cmd), "%s", stderr)
	assert.Contains(t, stderr.String(), "Nothing was read yet")
	assert.NotContains(t, stderr.String(), "-since")
}
