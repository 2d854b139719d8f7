package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
)

// runDemo brings up a fake AWS, a store, Temporal and some workers on loopback,
// and shows a sync in which a worker is killed, and the next one.
func runDemo(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	accounts := flags.Int("accounts", 3, "at the fake")
	regions := flags.Int("regions", 16, "of each account, 17 at most")
	events := flags.Int("events", 1500, "in each account and Region")
	size := flags.Int("event-size", 2500, "bytes of each event")
	latency := flags.Duration("latency", 200*time.Millisecond, "of each page")
	workers := flags.Int("workers", 3, "processes")
	heartbeat := flags.Duration("heartbeat-timeout", 5*time.Second, "a worker that is silent for so long has lost its partitions")
	throttle := flags.Duration("heartbeat-throttle", 500*time.Millisecond, "a partition's heartbeats are sent no more often")
	kill := flags.Bool("kill", true, "kill a worker in the middle")
	keep := flags.Bool("keep", false, "keep the folder with the logs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	started := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%5.1fs  %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, args...))
	}
	binary, err := temporalBinary(ctx, say)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "cloudtrail-temporal-")
	if err != nil {
		return err
	}
	if *keep {
		say("logs: %s", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	now := time.Now()
	c, err := startCluster(ctx, clusterOptions{
		Dir: dir, Program: []string{program}, Workers: *workers, Temporal: binary,
		AWS: fakeOptions{Accounts: *accounts, Regions: min(*regions, len(fakeRegions)), Events: *events, EventSize: *size,
			From: now.Add(-6 * 24 * time.Hour), To: now, Latency: *latency},
		WorkerFlags: []string{"-heartbeat-throttle", throttle.String()},
	})
	defer c.stop()
	if err != nil {
		return err
	}
	say("up: fake AWS with %d partitions of %d events, store, Temporal at %s, %d workers", len(c.aws.histories), *events, c.address, *workers)

	in := SyncInput{Name: "demo", Heartbeat: *heartbeat, BatchSize: 20}
	if err := c.showSync(ctx, in, *kill, say); err != nil {
		return err
	}
	requests := c.aws.requests()
	say("the same again: only the last 15 minutes, since events arrive late")
	if err := c.showSync(ctx, in, false, say); err != nil {
		return err
	}
	say("that took %d requests", c.aws.requests()-requests)
	if missing := c.store.missing(c.aws.events(now)); missing > 0 {
		return fmt.Errorf("%d events are missing", missing)
	}
	say("every event is stored, %d in all", c.store.size())
	if fenced, back := c.store.verdict(); len(back) > 0 {
		return fmt.Errorf("tokens moved backwards: %v", back)
	} else {
		say("no token moved backwards; %d calls of workers that had lost their partition were refused", fenced)
	}
	partition, excess := c.aws.excess()
	say("most that a partition was over its quota: %.1f requests %s", excess, partition)
	c.showWorkers(say)
	return nil
}

// showSync runs a sync and says how it goes on; kill ends a worker once it has
// stored some pages, and starts it again.
func (c *cluster) showSync(ctx context.Context, in SyncInput, kill bool, say func(string, ...any)) error {
	run, err := startSync(ctx, c.client, defaultTaskQueue, in)
	if err != nil {
		return err
	}
	type outcome struct {
		report Report
		err    error
	}
	ended := make(chan outcome, 1)
	go func() {
		report, err := awaitSync(ctx, run)
		ended <- outcome{report, err}
	}()
	ticker := time.NewTicker(2 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case o := <-ended:
			say("%s", o.report)
			return o.err
		case <-ticker.C:
		}
		say("%d records; pages by worker: %s; %s", c.store.size(), counts(c.store.stored()), c.showReading(ctx, in, run))
		if kill && c.store.stored()["worker-1"] > 50 {
			kill = false
			c.workers[0].kill()
			say("killed worker-1: its partitions are taken over once their heartbeats are missed for %s", in.Heartbeat)
			if err := c.startWorker(0); err != nil {
				return err
			}
		}
	}
}

// showReading sums up the running sync as `status` would show it.
func (c *cluster) showReading(ctx context.Context, in SyncInput, run client.WorkflowRun) string {
	var text strings.Builder
	if err := printSync(ctx, &text, c.client, client.ScheduleWorkflowExecution{WorkflowID: in.Name, FirstExecutionRunID: run.GetRunID()}); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d partitions are being read", strings.Count(text.String(), " on worker-"))
}

// showWorkers stops the workers and says what each of them used since its last
// start.
func (c *cluster) showWorkers(say func(string, ...any)) {
	pages := c.store.stored()
	for _, w := range c.workers {
		_ = w.Process.Signal(os.Interrupt)
		<-w.exited
		name := strings.TrimSuffix(filepath.Base(w.log), ".log")
		say("%s: %d pages; %.1f s of processor time since its last start", name, pages[name], w.cpu().Seconds())
	}
	c.temporal.kill()
	say("Temporal: %.1f s of processor time", c.temporal.cpu().Seconds())
}

// counts prints a count for each worker.
func counts(of map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(parts, ", ")
}
