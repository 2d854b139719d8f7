package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/cloudtrail-connector/cloudtrail"
)

// SyncInput is what a schedule or `start` gives a sync.
type SyncInput struct {
	Name         string    // of the sync, in ids and in the store; another filter needs another name
	Since        time.Time // for partitions that the store has no token of; zero: LookbackDays
	LookbackDays float64   // default 7
	Filter       cloudtrail.Filter
	BatchSize    int           // partitions per child workflow; default 200
	Heartbeat    time.Duration // a worker that is silent for so long has lost its partitions; default 20 s
	Budget       time.Duration // reading time of a partition per sync; default 30 min
}

const (
	defaultName      = "cloudtrail"
	defaultBatchSize = 200
	defaultHeartbeat = 20 * time.Second
	defaultBudget    = 30 * time.Minute
)

func (in SyncInput) withDefaults() SyncInput {
	in.Name = cmp.Or(in.Name, defaultName)
	in.BatchSize = cmp.Or(in.BatchSize, defaultBatchSize)
	in.Heartbeat = cmp.Or(in.Heartbeat, defaultHeartbeat)
	in.Budget = cmp.Or(in.Budget, defaultBudget)
	return in
}

// SyncPlan is what Begin found: which sync this is and what it reads. The
// partitions themselves are asked for batch by batch, since thousands of them
// don't belong into one history.
type SyncPlan struct {
	Epoch       int64
	Partitions  int
	Fingerprint string // of the partitions' list, so that every worker means the same one
}

// BatchInput is what one child workflow reads.
type BatchInput struct {
	SyncInput
	SyncPlan
	Offset int
}

// errorPartitions is the type of the error of a sync in which partitions failed.
// Its details are the Report.
const errorPartitions = "PartitionsFailed"

// SyncWorkflow is one sync. It plans, has child workflows read batches of
// partitions, all at once, and merges. It fails if a partition failed, after
// all the others are done: a failure that only a report tells of is overlooked.
//
// The tokens are carried from run to run by the store, one for each partition.
func SyncWorkflow(ctx workflow.Context, in SyncInput) (Report, error) {
	var a *Activities
	in = in.withDefaults()
	var plan SyncPlan
	if err := workflow.ExecuteLocalActivity(quick(ctx), a.Begin, in.Name).Get(ctx, &plan); err != nil {
		return Report{}, err
	}
	var batches []workflow.Future
	for offset := 0; offset < plan.Partitions; offset += in.BatchSize {
		child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			// Without this run's id, so that two syncs of one name can't read the same
			// partitions at one time: the later one's batches don't start.
			WorkflowID:          fmt.Sprintf("%s/batch-%d", in.Name, offset/in.BatchSize),
			ParentClosePolicy:   enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
			WaitForCancellation: true,
		})
		batches = append(batches, workflow.ExecuteChildWorkflow(child, BatchWorkflow, BatchInput{in, plan, offset}))
	}
	report := Report{Partitions: plan.Partitions}
	for i, batch := range batches {
		var r Report
		err := batch.Get(ctx, &r)
		if err != nil && ctx.Err() == nil {
			n := min(in.BatchSize, plan.Partitions-i*in.BatchSize)
			r = failedBatch(fmt.Sprintf("batch %d", i), n, err)
		}
		report.merge(r)
	}
	// Also after a cancellation: what was read, was read.
	merging, _ := workflow.NewDisconnectedContext(ctx)
	if err := workflow.ExecuteLocalActivity(quick(merging), a.Merge, in.Name, plan.Epoch).Get(merging, nil); err != nil {
		return report, err
	}
	switch {
	case ctx.Err() != nil:
		return report, ctx.Err()
	case report.Failed > 0:
		return report, temporal.NewNonRetryableApplicationError(report.String(), errorPartitions, nil, report)
	}
	return report, nil
}

// BatchWorkflow reads a batch of partitions, each in one long activity. It
// doesn't fail when a partition does.
func BatchWorkflow(ctx workflow.Context, in BatchInput) (Report, error) {
	var a *Activities
	var partitions []cloudtrail.Partition
	if err := workflow.ExecuteLocalActivity(quick(ctx), a.Plan, in).Get(ctx, &partitions); err != nil {
		return Report{}, err
	}
	reads := make([]workflow.Future, len(partitions))
	for i, p := range partitions {
		reads[i] = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			ActivityID:          p.String(), // one at a time
			StartToCloseTimeout: in.Budget + longestPage,
			HeartbeatTimeout:    in.Heartbeat,
			WaitForCancellation: true,
			// For workers that die. What AWS refused comes back when explain says.
			RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 1.5, MaximumInterval: 15 * time.Second},
		}), a.Read, ReadInput{
			Sync: in.Name, Epoch: in.Epoch, Partition: p,
			Since: in.Since, LookbackDays: in.LookbackDays, Filter: in.Filter, Budget: in.Budget,
		})
	}
	var report Report
	for i, read := range reads {
		var r PartitionReport
		err := read.Get(ctx, &r)
		if err != nil && ctx.Err() != nil {
			continue // cancelled, not failed
		}
		report.add(partitions[i], r, err)
	}
	return report, ctx.Err()
}

// longestPage is how long after its budget a partition may still be at its last
// request: ten attempts that time out, with their backoff.
const longestPage = 15 * time.Minute

// quick is for the activities that a workflow's own worker does in between:
// they hold none of the slots that the reading ones are counted by.
func quick(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    time.Minute,
		ScheduleToCloseTimeout: 10 * time.Minute,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 1.5, MaximumInterval: 15 * time.Second},
	})
}

// failedBatch reports a batch that could not be read at all.
func failedBatch(name string, partitions int, err error) Report {
	var running *temporal.ChildWorkflowExecutionAlreadyStartedError
	if errors.As(err, &running) {
		err = errors.New("another sync of this name is running")
	}
	return Report{Failed: partitions, Failures: []Failure{{name, reason(err)}}}
}
