package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/cloudtrail-connector/cloudtrail"
)

// runStart starts one sync and waits for it, or makes the schedule that starts
// one regularly.
func runStart(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("start", flag.ContinueOnError)
	var in SyncInput
	flags.StringVar(&in.Name, "name", defaultName, "of the sync; another filter needs another name")
	every := flags.Duration("every", 0, "make a schedule with this interval, or change it, and start a sync now")
	flags.Float64Var(&in.LookbackDays, "lookback-days", 7, "how far back the first sync reads")
	flags.Func("since", "`time` (RFC 3339) from which the first sync reads", func(s string) (err error) {
		in.Since, err = time.Parse(time.RFC3339, s)
		return err
	})
	filter := flags.String("filter", "", "one attribute, such as ReadOnly=false")
	flags.IntVar(&in.BatchSize, "batch", defaultBatchSize, "partitions per child workflow")
	flags.DurationVar(&in.Heartbeat, "heartbeat-timeout", defaultHeartbeat, "a worker that is silent for so long has lost its partitions")
	flags.DurationVar(&in.Budget, "budget", defaultBudget, "how long a sync reads one partition at most; the next sync goes on")
	queue := flags.String("task-queue", defaultTaskQueue, "of the workers")
	detach := flags.Bool("detach", false, "don't wait for the sync")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options, err := cloudtrail.ParseOperationOptions(map[string]string{"filter": *filter})
	if err != nil {
		return err
	}
	in.Filter = options.Filter
	c, err := dial(ctx, "start", logger(false))
	if err != nil {
		return err
	}
	defer c.Close()
	if *every > 0 {
		return schedule(ctx, c, *queue, *every, in)
	}
	run, err := startSync(ctx, c, *queue, in)
	if err != nil {
		return err
	}
	fmt.Println("started", run.GetID())
	if *detach {
		return nil
	}
	report, err := awaitSync(ctx, run)
	fmt.Println(report)
	return err
}

// startSync starts a sync outside of the schedule. If another one of its name
// is running, that one is it.
func startSync(ctx context.Context, c client.Client, queue string, in SyncInput) (client.WorkflowRun, error) {
	return c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: in.Name, TaskQueue: queue}, SyncWorkflow, in)
}

// awaitSync returns a sync's report, also that of a sync in which partitions
// failed.
func awaitSync(ctx context.Context, run client.WorkflowRun) (Report, error) {
	var report Report
	return reportOf(&report, run.Get(ctx, &report))
}

// reportOf returns the report of a sync that ended with err: what it returned,
// or what the error has with it.
func reportOf(report *Report, err error) (Report, error) {
	var failed *temporal.ApplicationError
	if errors.As(err, &failed) && failed.Type() == errorPartitions {
		if detailsErr := failed.Details(report); detailsErr != nil {
			return *report, errors.Join(err, detailsErr)
		}
		err = fmt.Errorf("%d of %d partitions failed", report.Failed, report.Partitions)
	}
	return *report, err
}

// schedule makes the schedule, or changes it, and has it start a sync now. If
// one is still running when the next is due, that one is left out: its
// partitions are being read already.
func schedule(ctx context.Context, c client.Client, queue string, every time.Duration, in SyncInput) error {
	spec := client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
	action := &client.ScheduleWorkflowAction{ID: in.Name, Workflow: SyncWorkflow, Args: []any{in}, TaskQueue: queue}
	const skip = enumspb.SCHEDULE_OVERLAP_POLICY_SKIP
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: in.Name, Spec: spec, Action: action,
		Overlap: skip, TriggerImmediately: true,
		CatchupWindow: max(every, 10*time.Second), // after an outage one sync reads all of it
	})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		if err == nil {
			fmt.Printf("schedule %s: every %s\n", in.Name, every)
		}
		return err
	}
	handle := c.ScheduleClient().GetHandle(ctx, in.Name)
	err = handle.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(u client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		s := u.Description.Schedule
		s.Spec, s.Action, s.Policy.Overlap = &spec, action, skip
		return &client.ScheduleUpdate{Schedule: &s}, nil
	}})
	if err != nil {
		return err
	}
	fmt.Printf("schedule %s: now every %s\n", in.Name, every)
	return handle.Trigger(ctx, client.ScheduleTriggerOptions{Overlap: skip})
}
