package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/cloudtrail-connector/cloudtrail"
)

// Activities is what a worker can do. One serves a whole process: its
// Connector paces each partition that the process holds.
type Activities struct {
	Connector *cloudtrail.Connector
	Store     Store
	Log       *slog.Logger
}

// Begin numbers the sync and counts its partitions.
func (a *Activities) Begin(ctx context.Context, sync string) (SyncPlan, error) {
	partitions, err := a.Connector.Partitions(ctx)
	if err != nil {
		return SyncPlan{}, err
	}
	epoch, err := a.Store.Begin(ctx, sync)
	return SyncPlan{Epoch: epoch, Partitions: len(partitions), Fingerprint: fingerprint(partitions)}, err
}

// Plan returns a batch's partitions. While workers with other settings are
// being replaced it fails, and may succeed on another worker.
func (a *Activities) Plan(ctx context.Context, in BatchInput) ([]cloudtrail.Partition, error) {
	partitions, err := a.Connector.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	if fingerprint(partitions) != in.Fingerprint {
		return nil, errors.New("this worker's settings name other partitions than those of the worker that began the sync")
	}
	return partitions[in.Offset:min(in.Offset+in.BatchSize, len(partitions))], nil
}

func fingerprint(partitions []cloudtrail.Partition) string {
	h := sha256.New()
	for _, p := range partitions {
		fmt.Fprintln(h, p.AccountID, p.RoleARN, p.Region)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Merge joins the partitions' tokens to the sync's, from which a program on a
// single machine could go on.
func (a *Activities) Merge(ctx context.Context, sync string, epoch int64) error {
	tokens, err := a.Store.Tokens(ctx, sync)
	if err != nil {
		return err
	}
	key, fence := Key{Sync: sync}, Fence{epoch, int64(activity.GetInfo(ctx).Attempt)}
	if _, err = a.Store.Claim(ctx, key, fence); err == nil {
		err = a.Store.Put(ctx, key, fence, nil, cloudtrail.MergeTokens(tokens...))
	}
	if errors.Is(err, ErrFenced) {
		return nil // a later sync merges too
	}
	return err
}

// ReadInput is what a Read reads.
type ReadInput struct {
	Sync         string
	Epoch        int64
	Partition    cloudtrail.Partition
	Since        time.Time
	LookbackDays float64
	Filter       cloudtrail.Filter
	Budget       time.Duration
}

// errBudget ends a read that has had its time; the next sync goes on.
var errBudget = errors.New("the partition's time in this sync is over")

// errStopping ends a read whose worker is shutting down, so that another worker
// needn't wait for the heartbeat timeout.
var errStopping = errors.New("the worker is shutting down")

// Read syncs one partition. It goes on from the token that the store has, which
// no other attempt can move any more once it has claimed the row.
func (a *Activities) Read(ctx context.Context, in ReadInput) (PartitionReport, error) {
	info := activity.GetInfo(ctx)
	key, fence := Key{in.Sync, in.Partition.String()}, Fence{in.Epoch, int64(info.Attempt)}
	ctx, stop := untilStop(ctx)
	defer stop()

	token, err := a.Store.Claim(ctx, key, fence)
	if err != nil {
		return PartitionReport{}, explain(ctx, err, info.Attempt)
	}
	a.checkStore(ctx, in.Partition, token)
	if token.IsZero() {
		token = cloudtrail.SinceTime(in.Since)
	}
	done := PartitionReport{Token: token}
	beat, stopBeating := startHeartbeat(ctx, done)
	defer stopBeating()

	started := time.Now()
	res, err := a.Connector.Sync(ctx, cloudtrail.SyncOptions{
		Since: token, LookbackDays: in.LookbackDays, Filter: in.Filter,
		Partitions: []cloudtrail.Partition{in.Partition},
	}, func(ctx context.Context, page cloudtrail.Page) error {
		token := page.Token()
		if err := a.Store.Put(ctx, key, fence, page.Records, token); err != nil {
			return err
		}
		done.Token = token
		done.Records += len(page.Records)
		done.Pages++
		beat(done)
		if time.Since(started) > in.Budget {
			return errBudget
		}
		return nil
	})
	if len(res.Partitions) == 1 {
		p := res.Partitions[0]
		done.Requests, done.Throttles, done.Retries = p.Requests, p.Throttles, p.Retries
		done.Complete, done.Skipped = p.Complete, p.Skipped
	}
	switch {
	case errors.Is(err, errBudget):
		done.Complete = false
		return done, nil
	case err != nil:
		return done, explain(ctx, err, info.Attempt)
	}
	// Behind the last page the token moves on over time without events.
	if err := a.Store.Put(ctx, key, fence, nil, res.Token); err != nil {
		return done, explain(ctx, err, info.Attempt)
	}
	done.Token = res.Token
	return done, nil
}

// checkStore compares what the store has with what the attempt before said in
// its last heartbeat, which it sent after a page was stored. The store is right
// in any case; but one that knows less than the heartbeat has lost a write that
// it had confirmed, and somebody should know.
func (a *Activities) checkStore(ctx context.Context, p cloudtrail.Partition, stored cloudtrail.SyncToken) {
	var last PartitionReport
	if !activity.HasHeartbeatDetails(ctx) || activity.GetHeartbeatDetails(ctx, &last) != nil {
		return
	}
	if last.Pages > 0 && cloudtrail.MergeTokens(stored, last.Token) != stored {
		a.Log.Error("the store has lost writes: reading them again", "partition", p.String(), "stored", stored, "confirmed", last.Token)
		return
	}
	a.Log.Info("going on where another attempt stopped", "partition", p.String(), "pages", last.Pages)
}

// untilStop returns a context that also ends, with errStopping as its cause,
// when the worker is told to stop.
func untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	stopping := activity.GetWorkerStopChannel(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-stopping:
			cancel(errStopping)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// heartbeatEvery is how often a heartbeat is recorded while no page arrives, in
// a backoff say: it is how a cancellation, or the loss of the partition, is
// learned of. The SDK sends one in each MaxHeartbeatThrottleInterval at most.
const heartbeatEvery = time.Second

// startHeartbeat records a heartbeat with each report that is given to beat and
// every heartbeatEvery. That happens on a goroutine of its own, because
// RecordHeartbeat waits for Temporal, and reading shouldn't.
func startHeartbeat(ctx context.Context, first PartitionReport) (beat func(PartitionReport), stop func()) {
	latest := make(chan PartitionReport, 1)
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(heartbeatEvery)
		defer ticker.Stop()
		for report := first; ; {
			activity.RecordHeartbeat(ctx, report)
			select {
			case report = <-latest:
			case <-ticker.C:
			case <-stopped:
				return
			}
		}
	}()
	beat = func(r PartitionReport) {
		select {
		case <-latest: // one that nobody has sent yet is out of date
		default:
		}
		latest <- r
	}
	return beat, func() { close(stopped); <-done }
}

// isCancelled reports whether Temporal wants the activity to end, because it
// was cancelled or because the attempt has been given up. The SDK also ends an
// activity whose heartbeat could not be delivered for as long as
// MaxHeartbeatThrottleInterval, one second at least: that is no cancellation.
func isCancelled(ctx context.Context) bool {
	var cancelled *temporal.CanceledError
	var gone *serviceerror.NotFound
	cause := context.Cause(ctx)
	return errors.As(cause, &cancelled) || errors.As(cause, &gone) || errors.Is(cause, context.Canceled) ||
		errors.Is(cause, activity.ErrActivityPaused) || errors.Is(cause, activity.ErrActivityReset)
}

// explain turns why a Read ended into what Temporal acts on: whether and when
// there is another attempt.
func explain(ctx context.Context, err error, attempt int32) error {
	var failed *cloudtrail.PartitionError
	var config *cloudtrail.ConfigError
	switch {
	case isCancelled(ctx):
		return ctx.Err()
	case errors.Is(context.Cause(ctx), errStopping):
		return temporal.NewApplicationError(errStopping.Error(), "Stopping")
	case ctx.Err() != nil:
		return temporal.NewApplicationError(fmt.Sprintf("no heartbeat could be delivered: %s", context.Cause(ctx)), "HeartbeatLost")
	case errors.Is(err, ErrFenced):
		// Nobody waits for what a zombie returns. Otherwise a workflow was reset,
		// and the attempts soon reach a fence that is high enough.
		return temporal.NewApplicationError(err.Error(), "Fenced")
	case errors.As(err, &config):
		return temporal.NewNonRetryableApplicationError(err.Error(), "Config", nil)
	case errors.Is(err, cloudtrail.ErrInvalidToken):
		return temporal.NewNonRetryableApplicationError(err.Error(), "InvalidToken", nil)
	case errors.As(err, &failed):
		return explainAWS(failed, attempt)
	}
	return err // the store, say
}
