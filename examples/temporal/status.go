package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/cloudtrail-connector/cloudtrail"
)

// runStatus prints what a sync is doing and how the last ones went.
func runStatus(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("status", flag.ContinueOnError)
	name := flags.String("name", defaultName, "of the sync")
	token := flags.Bool("token", false, "print the sync's merged token instead, from which a single machine could go on")
	store := flags.String("store", "http://127.0.0.1:7300", "`URL` of the store, for -token")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *token {
		tokens, err := newStoreClient(*store, "status").Tokens(ctx, *name)
		if err == nil {
			fmt.Println(cloudtrail.MergeTokens(tokens...))
		}
		return err
	}
	c, err := dial(ctx, "status", logger(false))
	if err != nil {
		return err
	}
	defer c.Close()
	return printStatus(ctx, os.Stdout, c, *name)
}

// printStatus prints the schedule, its last syncs, and those that were started
// by hand.
func printStatus(ctx context.Context, w io.Writer, c client.Client, name string) error {
	runs := []client.ScheduleWorkflowExecution{{WorkflowID: name}} // the last by hand
	var notFound *serviceerror.NotFound
	described, err := c.ScheduleClient().GetHandle(ctx, name).Describe(ctx)
	switch {
	case errors.As(err, &notFound):
		fmt.Fprintf(w, "no schedule %s\n", name)
	case err != nil:
		return err
	default:
		info := described.Info
		fmt.Fprintf(w, "schedule %s: %d syncs, %d left out because one was running", name, info.NumActions, info.NumActionsSkippedOverlap)
		if described.Schedule.State.Paused {
			fmt.Fprint(w, ", paused")
		} else if len(info.NextActionTimes) > 0 {
			fmt.Fprintf(w, ", the next at %s", info.NextActionTimes[0].UTC().Format("15:04:05Z"))
		}
		fmt.Fprintln(w)
		for _, action := range slices.Backward(info.RecentActions) {
			if action.StartWorkflowResult != nil && len(runs) < 4 {
				runs = append(runs, *action.StartWorkflowResult)
			}
		}
	}
	for _, run := range runs {
		err := printSync(ctx, w, c, run)
		if err != nil && !errors.As(err, &notFound) {
			return err
		}
	}
	return nil
}

func printSync(ctx context.Context, w io.Writer, c client.Client, run client.ScheduleWorkflowExecution) error {
	sync, err := c.DescribeWorkflowExecution(ctx, run.WorkflowID, run.FirstExecutionRunID)
	if err != nil {
		return err
	}
	status := sync.GetWorkflowExecutionInfo().GetStatus()
	fmt.Fprintf(w, "%s: %s\n", run.WorkflowID, strings.ToLower(status.String()))
	if status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		report, err := awaitSync(ctx, c.GetWorkflow(ctx, run.WorkflowID, run.FirstExecutionRunID))
		if err != nil && report.Partitions == 0 {
			fmt.Fprintf(w, "  %s\n", reason(err))
			return nil
		}
		fmt.Fprintf(w, "  %s\n", report)
		return nil
	}
	for _, child := range sync.GetPendingChildren() {
		batch, err := c.DescribeWorkflowExecution(ctx, child.GetWorkflowId(), child.GetRunId())
		if err != nil {
			return err
		}
		for _, a := range batch.GetPendingActivities() {
			fmt.Fprintf(w, "  %s\n", activityLine(a))
		}
	}
	return nil
}

// activityLine says in a line what a partition is at.
func activityLine(a *workflowpb.PendingActivityInfo) string {
	line := fmt.Sprintf("%-28s attempt %d", a.GetActivityId(), a.GetAttempt())
	switch a.GetState() {
	case enumspb.PENDING_ACTIVITY_STATE_STARTED:
		line += " on " + a.GetLastWorkerIdentity()
		var report PartitionReport
		if a.GetHeartbeatDetails() != nil && converter.GetDefaultDataConverter().FromPayloads(a.GetHeartbeatDetails(), &report) == nil {
			line += fmt.Sprintf(": %d records in %d pages", report.Records, report.Pages)
		}
	default:
		line += " waits"
	}
	if failure := a.GetLastFailure(); failure != nil {
		line += "; the one before: " + failure.GetMessage()
	}
	return line
}
