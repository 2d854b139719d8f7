package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// read runs one Read.
func (o *organisation) read(t *testing.T, in ReadInput, prepare func(*testsuite.TestActivityEnvironment)) (PartitionReport, error) {
	env := o.activityEnvironment(t)
	if prepare != nil {
		prepare(env)
	}
	var report PartitionReport
	result, err := env.ExecuteActivity(o.Read, in)
	if err == nil {
		require.NoError(t, result.Get(&report))
	}
	return report, err
}

// applicationError returns err as Temporal sees it.
func applicationError(t *testing.T, err error) *temporal.ApplicationError {
	t.Helper()
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	return app
}

// lookups is how many requests CloudTrail got.
func (o *organisation) lookups() int { return o.fake.Stats().Requests }

func TestReadStoresAPartition(t *testing.T) {
	o := newOrganisation(t, 1, 2, 420)
	report, err := o.read(t, o.input(), nil)
	require.NoError(t, err)
	assert.True(t, report.Complete)
	assert.Equal(t, 420, report.Records)
	assert.Equal(t, o.lookups(), report.Requests)
	assert.Len(t, o.memory.records, 420, "the other Region is not its business")
	assert.Equal(t, report.Token, o.memory.rows[Key{"test", testAccount + "/us-east-1"}].token)

	again, err := o.read(t, ReadInput{Sync: "test", Epoch: 2, Partition: o.partition("us-east-1"), Budget: time.Hour}, nil)
	require.NoError(t, err)
	assert.Equal(t, 1, again.Requests, "the token is carried from sync to sync: only the time since is read")
	assert.Zero(t, again.Records)
}

// What a heartbeat says is stored, is stored.
func TestHeartbeatsFollowTheStore(t *testing.T) {
	o := newOrganisation(t, 1, 1, 500)
	beats := make(chan PartitionReport, 1000)
	stored := map[cloudtrail.SyncToken]int{{}: 0}                        // pages, by token
	o.beforePut(func(put int, _ Key, token cloudtrail.SyncToken) error { // one call at a time
		if put > 1 {
			for beat := range beats { // that of the page before
				pages, ok := stored[beat.Token]
				assert.True(t, ok, "a heartbeat with a token that isn't stored")
				assert.Equal(t, pages, beat.Pages)
				if beat.Pages == put-1 {
					break
				}
			}
		}
		stored[token] = put
		return nil
	})
	_, err := o.read(t, o.input(), func(env *testsuite.TestActivityEnvironment) {
		env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&heartbeats{heard: beats}}})
	})
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(stored), 10)
}

// heartbeats hears each heartbeat that an activity records, before the SDK
// decides which of them to send.
type heartbeats struct {
	interceptor.WorkerInterceptorBase
	interceptor.ActivityInboundInterceptorBase
	interceptor.ActivityOutboundInterceptorBase
	heard chan<- PartitionReport
}

func (h *heartbeats) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	in := &heartbeats{heard: h.heard}
	in.ActivityInboundInterceptorBase.Next = next
	return in
}

func (h *heartbeats) Init(next interceptor.ActivityOutboundInterceptor) error {
	out := &heartbeats{heard: h.heard}
	out.ActivityOutboundInterceptorBase.Next = next
	return h.ActivityInboundInterceptorBase.Init(out)
}

func (h *heartbeats) RecordHeartbeat(ctx context.Context, details ...any) {
	h.heard <- details[0].(PartitionReport)
	h.ActivityOutboundInterceptorBase.RecordHeartbeat(ctx, details...)
}

// A worker that comes back from the dead finds that the partition has another
// owner, and changes nothing.
func TestZombieIsFenced(t *testing.T) {
	o := newOrganisation(t, 1, 1, 500)
	key := Key{"test", testAccount + "/us-east-1"}
	stored := 0
	o.beforePut(func(put int, _ Key, _ cloudtrail.SyncToken) error {
		if put == 3 { // it was away while this happened
			stored = len(o.memory.records)
			token, err := o.memory.Claim(t.Context(), key, Fence{1, 2})
			assert.NoError(t, err)
			assert.False(t, token.IsZero(), "the new owner goes on from what the first one stored")
			return o.memory.Put(t.Context(), key, Fence{1, 2}, nil, at(1))
		}
		return nil
	})
	_, err := o.read(t, o.input(), nil)
	app := applicationError(t, err)
	assert.Equal(t, "Fenced", app.Type())
	assert.Equal(t, at(1), o.memory.rows[key].token, "the new owner's token stays")
	assert.NotZero(t, stored)
	assert.Equal(t, stored, len(o.memory.records), "only the pages from before")
}

func TestReadWithinItsBudget(t *testing.T) {
	o := newOrganisation(t, 1, 1, 500)
	in := o.input()
	in.Budget = time.Nanosecond
	syncs := 0
	for complete := false; !complete; syncs++ {
		require.Less(t, syncs, 50)
		in.Epoch++
		report, err := o.read(t, in, nil)
		require.NoError(t, err)
		assert.LessOrEqual(t, report.Pages, 1)
		complete = report.Complete
	}
	assert.Zero(t, o.missing(), "each sync goes on where the one before had to stop")
	assert.Greater(t, syncs, 9)
}

// A worker that is told to stop gives its partitions back at once.
func TestReadEndsWithItsWorker(t *testing.T) {
	o := newOrganisation(t, 1, 1, 500)
	stop := make(chan struct{})
	o.fake.SetFault(func(cloudtrailtest.Call) *cloudtrailtest.Fault { return nil })
	o.beforePut(func(put int, _ Key, _ cloudtrail.SyncToken) error {
		if put == 2 {
			o.fake.SetFault(func(cloudtrailtest.Call) *cloudtrailtest.Fault { return cloudtrailtest.Silence() })
			close(stop)
		}
		return nil
	})
	_, err := o.read(t, o.input(), func(env *testsuite.TestActivityEnvironment) { env.SetWorkerStopChannel(stop) })
	app := applicationError(t, err)
	assert.Equal(t, "Stopping", app.Type())
	assert.False(t, app.NonRetryable(), "another worker goes on")
	assert.Zero(t, o.fake.Stats().InFlight)
}

func TestFailuresAsTemporalSeesThem(t *testing.T) {
	fault := func(f *cloudtrailtest.Fault) func(*organisation, *ReadInput) {
		return func(o *organisation, _ *ReadInput) {
			o.fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
				if c.Service == "cloudtrail" {
					return f
				}
				return nil
			})
		}
	}
	for name, test := range map[string]struct {
		provoke func(*organisation, *ReadInput)
		kind    string
		retried bool
		text    string
	}{
		"denied": {
			provoke: func(o *organisation, _ *ReadInput) {
				o.fake.Account(testAccount).Region("us-east-1").Deny("not for you")
			},
			kind: "AccessDeniedException", text: "allow cloudtrail:LookupEvents",
		},
		"no such role": {
			provoke: func(o *organisation, _ *ReadInput) {
				o.fake.Account(testAccount).AddRole(cloudtrailtest.Role{Name: "reader", Trusts: []string{"999999999999"}})
			},
			kind: "AccessDenied", text: "trust policy",
		},
		"throttled": {provoke: fault(cloudtrailtest.Throttling()), kind: "ThrottlingException", retried: true, text: "the next sync goes on"},
		"trouble":   {provoke: fault(cloudtrailtest.Error(500, "InternalFailure", "oops")), kind: "InternalFailure", retried: true, text: "AWS is in trouble"},
		"network":   {provoke: fault(cloudtrailtest.Reset()), kind: "Unreachable", retried: true, text: "check network"},
		"settings": {
			provoke: func(_ *organisation, in *ReadInput) { in.Partition.Region = "eu-west-3" },
			kind:    "Config", text: "not a partition of this connector",
		},
		"another filter": {
			provoke: func(o *organisation, in *ReadInput) {
				_, err := o.read(t, *in, nil)
				require.NoError(t, err)
				in.Epoch++
				in.Filter = cloudtrail.Filter{Key: "ReadOnly", Value: "false"}
			},
			kind: "InvalidToken", text: "a filter needs a token of its own",
		},
		"store": {
			provoke: func(o *organisation, _ *ReadInput) {
				o.beforePut(func(int, Key, cloudtrail.SyncToken) error { return errors.New("disk full") })
			},
			retried: true, text: "disk full",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrganisation(t, 1, 1, 100)
			in := o.input()
			test.provoke(o, &in)
			_, err := o.read(t, in, nil)
			app := applicationError(t, err)
			assert.Equal(t, !test.retried, app.NonRetryable(), "%s", err)
			assert.Contains(t, app.Error(), test.text)
			if test.kind != "" {
				assert.Equal(t, test.kind, app.Type())
			}
		})
	}
}

// Trouble that lasts doesn't hold up the next sync of all the others for ever.
func TestTroubleThatLasts(t *testing.T) {
	err := &cloudtrail.PartitionError{Op: "LookupEvents", Err: errors.New("no route to host")}
	for attempt := int32(1); attempt <= maxAttempts; attempt++ {
		app := applicationError(t, explain(t.Context(), err, attempt))
		assert.Equal(t, attempt == maxAttempts, app.NonRetryable(), "attempt %d", attempt)
		assert.Equal(t, awsRetryDelay, app.NextRetryDelay())
	}
}

// Why an attempt ends decides whether another one follows at once.
func TestWhyTheContextEnded(t *testing.T) {
	for name, test := range map[string]struct {
		cause error
		kind  string // "": cancelled
	}{
		"cancelled":            {temporal.NewCanceledError(), ""},
		"given up":             {serviceerror.NewNotFound("activity timed out"), ""},
		"paused":               {activity.ErrActivityPaused, ""},
		"worker stops":         {errStopping, "Stopping"},
		"Temporal hesitates":   {serviceerror.NewDeadlineExceeded("context deadline exceeded"), "HeartbeatLost"},
		"Temporal is away":     {serviceerror.NewUnavailable("connection refused"), "HeartbeatLost"},
		"Temporal is too slow": {context.DeadlineExceeded, "HeartbeatLost"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(test.cause)
			err := explain(ctx, errors.Join(context.Canceled, &cloudtrail.PartitionError{Err: errors.New("x")}), 1)
			if test.kind == "" {
				assert.Equal(t, context.Canceled, err)
				return
			}
			app := applicationError(t, err)
			assert.Equal(t, test.kind, app.Type())
			assert.False(t, app.NonRetryable())
		})
	}
}
