//go:build chaos

package main

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
)

// The test's own binary is the program too, so that it needn't be built.
const beTheProgram = "CLOUDTRAIL_TEMPORAL_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beTheProgram) != "" {
		main()
		return
	}
	os.Setenv(beTheProgram, "1") // for the processes that are started
	os.Exit(m.Run())
}

// chaos is a cluster to which things happen.
type chaos struct {
	*testing.T
	*cluster
	ctx   context.Context
	rng   *rand.Rand
	stall atomic.Int64 // nanoseconds
}

// watchStalls notes for how long this process had no processor. Requests that
// were made at the quota arrive so much closer together on a slow machine.
func (x *chaos) watchStalls() {
	const tick = 10 * time.Millisecond
	for last := time.Now(); x.ctx.Err() == nil; {
		time.Sleep(tick)
		now := time.Now()
		x.stall.Store(max(x.stall.Load(), int64(now.Sub(last)-tick)))
		last = now
	}
}

// Workers are killed at random while a schedule starts sync after sync of
// partitions whose history grows, one is stopped until it has lost its
// partitions and then goes on, and the server is killed. Every event arrives
// nevertheless, no token moves backwards and the quota holds.
func TestWorkersDie(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	binary, err := temporalBinary(ctx, t.Logf)
	require.NoError(t, err)
	program, err := os.Executable()
	require.NoError(t, err)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)

	now := time.Now()
	c, err := startCluster(ctx, clusterOptions{
		Dir: t.TempDir(), Program: []string{program}, Workers: 3, Temporal: binary,
		AWS: fakeOptions{Accounts: 3, Regions: 16, Events: 2700, From: now.Add(-2 * time.Hour), To: now.Add(15 * time.Minute),
			Latency: 400 * time.Millisecond},
		Settings:    map[string]string{"pageSize": "20"},
		WorkerFlags: []string{"-heartbeat-throttle", "500ms", "-partitions", "24"},
	})
	t.Cleanup(c.stop)
	require.NoError(t, err)
	x := &chaos{T: t, cluster: c, ctx: ctx, rng: rand.New(rand.NewPCG(seed, 0))}
	go x.watchStalls()

	x.command("start", "-name", "chaos", "-every", "5s", "-batch", "20", "-heartbeat-timeout", "5s")
	schedule := c.client.ScheduleClient().GetHandle(ctx, "chaos")
	// info asks until the server, which may just have come up, answers.
	info := func() (info client.ScheduleInfo) {
		x.until("the server describes the schedule", func() bool {
			described, err := schedule.Describe(ctx)
			if err == nil {
				info = described.Info
			}
			return err == nil
		})
		return info
	}
	for kill := range 10 {
		switch kill {
		case 3:
			x.stopWorker()
		case 5:
			x.killServer()
		case 7: // the last kills are in syncs that go on from a token
			x.until("a third sync starts", func() bool { return info().NumActions >= 3 })
		}
		x.killWorker(kill)
	}
	x.Logf("status:\n%s", x.command("status", "-name", "chaos"))
	require.NoError(t, schedule.Pause(ctx, client.SchedulePauseOptions{}))
	x.until("the schedule's last sync ends", func() bool { return len(info().RunningWorkflows) == 0 })
	assert.Positive(t, info().NumActionsSkippedOverlap, "syncs that were due while one was running")

	until := time.Now()
	x.Logf("the last sync: %s", x.command("start", "-name", "chaos", "-heartbeat-timeout", "5s"))
	x.Logf("status:\n%s", x.command("status", "-name", "chaos"))
	x.verify(until)
}

// verify checks what must hold whatever happened.
func (x *chaos) verify(until time.Time) {
	events := x.aws.events(until)
	assert.Zero(x, x.store.missing(events), "events of %d that are not in the sink", len(events))
	assert.LessOrEqual(x, x.store.size(), len(x.aws.events(time.Now())))
	fenced, back := x.store.verdict()
	assert.Empty(x, back, "tokens that moved backwards")
	partition, excess := x.aws.excess()
	stall := time.Duration(x.stall.Load())
	assert.LessOrEqual(x, excess, 1+2*stall.Seconds(), "requests over the quota of %s: a zombie's page is one; stalled for %s", partition, stall)
	stored, pages := x.store.stored(), 0
	for _, n := range stored {
		pages += n
	}
	for worker, n := range stored {
		assert.Greater(x, n, pages/100, "%s has to do some of %d pages", worker, pages)
	}
	assert.Len(x, stored, 3)
	x.Logf("%d events; pages: %s; %d calls fenced; most over the quota: %.2f requests %s; longest stall %s", len(events), counts(stored), fenced, excess, partition, stall)
}

// killWorker kills a worker at random, once it is at work, and starts it again.
func (x *chaos) killWorker(kill int) {
	i, name := x.pick()
	x.untilStored(name, 5+x.rng.IntN(60))
	x.workers[i].kill()
	x.Logf("%s: kill %d: %s, with %d partitions; pages: %s", time.Now().Format(time.TimeOnly), kill+1, name, len(x.heldBy(name)), counts(x.store.stored()))
	require.NoError(x, x.startWorker(i))
}

// stopWorker stops a worker until others have everything that it was reading,
// and lets it go on.
func (x *chaos) stopWorker() {
	i, name := x.pick()
	before := x.writes()
	x.untilStored(name, 20)
	require.NoError(x, x.workers[i].Process.Signal(syscall.SIGSTOP))
	var held []Key // what this very process has stored a page of
	after := x.writes()
	for _, key := range x.heldBy(name) {
		if after[key] > before[key] {
			held = append(held, key)
		}
	}
	require.NotEmpty(x, held)
	x.Logf("%s: stopped %s, which is reading %d partitions", time.Now().Format(time.TimeOnly), name, len(held))
	x.until("others take the partitions of "+name, func() bool {
		still := x.heldBy(name)
		return !slices.ContainsFunc(held, func(key Key) bool { return slices.Contains(still, key) })
	})
	fenced, _ := x.store.verdict()
	require.NoError(x, x.workers[i].Process.Signal(syscall.SIGCONT))
	x.untilStored(name, 5)
	now, _ := x.store.verdict()
	x.Logf("%s: %s went on; %d of its writes were fenced", time.Now().Format(time.TimeOnly), name, now-fenced)
}

// writes returns how often each row was written.
func (x *chaos) writes() map[Key]int {
	x.store.watch.Lock()
	defer x.store.watch.Unlock()
	return maps.Clone(x.store.writes)
}

// killServer kills the Temporal server and starts it again with its database.
func (x *chaos) killServer() {
	x.temporal.kill()
	x.Logf("%s: killed the server", time.Now().Format(time.TimeOnly))
	require.NoError(x, x.startTemporal(x.ctx, x.temporal.Path))
	x.Logf("%s: the server is up again", time.Now().Format(time.TimeOnly))
}

// pick returns a worker at random.
func (x *chaos) pick() (int, string) {
	i := x.rng.IntN(len(x.workers))
	return i, []string{"worker-1", "worker-2", "worker-3"}[i]
}

// heldBy returns the partitions that the worker claimed last.
func (x *chaos) heldBy(worker string) []Key {
	x.store.watch.Lock()
	defer x.store.watch.Unlock()
	var keys []Key
	for key, holder := range x.store.holders {
		if holder == worker && key.Partition != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// untilStored waits until the worker has stored that many more pages.
func (x *chaos) untilStored(worker string, pages int) {
	before := x.store.stored()[worker]
	x.until(worker+" stores pages", func() bool { return x.store.stored()[worker] >= before+pages })
}

// until waits for a condition that comes true if nothing is broken.
func (x *chaos) until(what string, condition func() bool) {
	x.Helper()
	deadline := time.Now().Add(4 * time.Minute)
	for !condition() {
		if time.Now().After(deadline) || x.ctx.Err() != nil {
			for _, p := range append(x.workers, x.temporal) {
				x.Logf("%s: %s", p.log, p.tail())
			}
			require.FailNow(x, "waited in vain", "%s; pages: %s", what, counts(x.store.stored()))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// command runs the program and returns what it prints. It must succeed.
func (x *chaos) command(args ...string) string {
	x.Helper()
	ctx, cancel := context.WithTimeout(x.ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, x.program[0], args...)
	cmd.Env = append(os.Environ(), "TEMPORAL_ADDRESS="+x.address, "TEMPORAL_CONFIG_FILE="+os.DevNull)
	out, err := cmd.CombinedOutput()
	require.NoError(x, err, "%s: %s", strings.Join(args, " "), out)
	return strings.TrimSpace(string(out))
}
