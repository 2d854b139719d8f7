package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

func TestSyncReadsEachPartitionOnceInBatches(t *testing.T) {
	o := newOrganisation(t, 7, 10, 60)
	r := o.sync(t, SyncInput{Name: "test", BatchSize: 30}, nil)
	require.NoError(t, r.err)
	assert.Equal(t, []string{"test/batch-0", "test/batch-1", "test/batch-2"}, slices.Sorted(slices.Values(r.batches)))
	want := map[string]int{}
	for partition := range o.histories {
		want[partition] = 1
	}
	assert.Equal(t, want, r.reads, "one activity a partition, named after it")
	assert.Equal(t, 70, r.report.Partitions)
	assert.Equal(t, 70, r.report.Complete)
	assert.Equal(t, 70*60, r.report.Records)
	assert.Zero(t, o.missing())
	assert.Empty(t, r.report.Failures)
}

func TestTokensAreCarriedFromSyncToSync(t *testing.T) {
	o := newOrganisation(t, 2, 3, 120)
	in := SyncInput{Name: "test", BatchSize: 4}
	require.NoError(t, o.sync(t, in, nil).err)
	before := o.lookups()
	second := o.sync(t, in, nil)
	require.NoError(t, second.err)
	assert.Equal(t, 6, o.lookups()-before, "a request each for the time since")
	assert.Zero(t, second.report.Records)

	// The merged token takes the sync to a single machine, without Temporal.
	merged := o.memory.rows[Key{Sync: "test"}].token
	require.False(t, merged.IsZero())
	before = o.lookups()
	res, err := o.Connector.Sync(t.Context(), cloudtrail.SyncOptions{Since: merged}, func(context.Context, cloudtrail.Page) error {
		return errors.New("everything was read already")
	})
	require.NoError(t, err)
	assert.Zero(t, res.Records)
	assert.Equal(t, 6, o.lookups()-before)
}

func TestFailedPartitionsAreReportedAndOwed(t *testing.T) {
	o := newOrganisation(t, 1, 5, 60)
	denied := o.fake.Account(testAccount).Region("us-east-2")
	denied.Deny("no permission")
	in := SyncInput{Name: "test", BatchSize: 2}
	r := o.sync(t, in, nil)
	require.ErrorContains(t, r.err, "1 of 5 partitions failed")
	assert.Equal(t, 4, r.report.Complete)
	assert.Equal(t, 1, r.report.Failed)
	require.Len(t, r.report.Failures, 1)
	assert.Equal(t, testAccount+"/us-east-2", r.report.Failures[0].Partition)
	assert.Contains(t, r.report.Failures[0].Error, "allow cloudtrail:LookupEvents")
	assert.Equal(t, 1, r.reads[testAccount+"/us-east-2"], "no retry cures it")
	assert.Equal(t, 60, o.missing())

	denied.Deny("")
	r = o.sync(t, in, nil)
	require.NoError(t, r.err)
	assert.Zero(t, o.missing(), "what it owed is read by the next sync")
}

// An attempt that ends in the middle is followed by one that goes on there.
func TestNextAttemptGoesOn(t *testing.T) {
	o := newOrganisation(t, 1, 1, 600)
	stored := 0
	o.beforePut(func(put int, _ Key, _ cloudtrail.SyncToken) error {
		if put == 5 || put == 8 {
			stored = len(o.memory.records)
			return errors.New("the store is away")
		}
		return nil
	})
	r := o.sync(t, SyncInput{Name: "test"}, nil)
	require.NoError(t, r.err)
	assert.Equal(t, 3, r.reads[testAccount+"/us-east-1"])
	assert.Zero(t, o.missing())
	assert.Greater(t, stored, 50)
	assert.Less(t, r.report.Records, 600-stored+50, "the last attempt reads what is left, and instants that were cut in two")
}

// Temporary trouble at one partition is tried again later, a few times, and the
// sync ends.
func TestTroubleIsTriedAgainAndThenReported(t *testing.T) {
	o := newOrganisation(t, 1, 2, 10)
	o.fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		if c.Service == "cloudtrail" && c.Region == "us-east-1" {
			return cloudtrailtest.Status(503)
		}
		return nil
	})
	r := o.sync(t, SyncInput{Name: "test"}, nil)
	require.ErrorContains(t, r.err, "1 of 2 partitions failed")
	assert.Equal(t, maxAttempts, r.reads[testAccount+"/us-east-1"])
	assert.Equal(t, 1, r.reads[testAccount+"/us-east-2"])
}

func TestCancellationReachesTheSync(t *testing.T) {
	o := newOrganisation(t, 1, 3, 60)
	asked := make(chan struct{}, 1000)
	o.fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
		if c.Service == "cloudtrail" {
			asked <- struct{}{}
			return cloudtrailtest.Silence()
		}
		return nil
	})
	r := o.sync(t, SyncInput{Name: "test"}, func(env *testsuite.TestWorkflowEnvironment) {
		go func() {
			for range 3 {
				<-asked
			}
			env.CancelWorkflow()
		}()
	})
	var cancelled *temporal.CanceledError
	require.ErrorAs(t, r.err, &cancelled)
	// By a heartbeat, of which the SDK's test environment sends one in 30 s.
	assert.Eventually(t, func() bool { return o.fake.Stats().InFlight == 0 }, 2*time.Minute, 10*time.Millisecond,
		"requests that wait for an answer are given up")
}

// While settings are being changed, some workers know other partitions.
func TestPlanOfAnotherConfiguration(t *testing.T) {
	o, other := newOrganisation(t, 2, 2, 0), newOrganisation(t, 3, 2, 0)
	plan, err := o.Begin(t.Context(), "test")
	require.NoError(t, err)
	batch := BatchInput{SyncInput{BatchSize: 3}.withDefaults(), plan, 3}
	partitions, err := o.Plan(t.Context(), batch)
	require.NoError(t, err)
	assert.Len(t, partitions, 1)
	_, err = other.Plan(t.Context(), batch)
	assert.ErrorContains(t, err, "other partitions")
}

// However many partitions fail, the report stays small.
func TestReportIsBounded(t *testing.T) {
	var sum Report
	for batch := range 30 {
		var r Report
		for i := range 200 {
			p := cloudtrail.Partition{AccountID: fmt.Sprintf("%012d", batch), Region: fmt.Sprintf("us-east-%d", i)}
			r.add(p, PartitionReport{}, errors.New("denied"))
		}
		sum.merge(r)
	}
	assert.Equal(t, 6000, sum.Failed)
	assert.Len(t, sum.Failures, maxFailures)
	assert.Equal(t, 1+maxFailures, len(strings.Split(sum.String(), "\n")))
}

func TestReportCountsEachPartitionOnce(t *testing.T) {
	var r Report
	p := cloudtrail.Partition{AccountID: testAccount, Region: "us-east-1"}
	r.add(p, PartitionReport{Complete: true, Records: 3, Pages: 2, Requests: 4, Throttles: 1, Retries: 1}, nil)
	r.add(p, PartitionReport{Records: 5, Pages: 1, Requests: 1}, nil)
	r.add(p, PartitionReport{Skipped: "Region not enabled"}, nil)
	r.add(p, PartitionReport{}, errors.New("denied"))
	assert.Equal(t, Report{Complete: 1, Unfinished: 1, Skipped: 1, Failed: 1, Records: 8, Pages: 3, Requests: 5, Throttles: 1, Retries: 1,
		Failures: []Failure{{p.String(), "denied"}}}, r)
}

func TestExcessOverTheQuota(t *testing.T) {
	start := time.Now()
	after := func(milliseconds ...int) (times []time.Time) {
		for _, ms := range milliseconds {
			times = append(times, start.Add(time.Duration(ms)*time.Millisecond))
		}
		return times
	}
	for name, test := range map[string]struct {
		arrivals []time.Time
		want     float64
	}{
		"nothing":        {nil, 0},
		"at the quota":   {after(0, 500, 1000, 1500, 2000), 0},
		"a little late":  {after(0, 700, 1000, 1500), 0},
		"one more":       {after(0, 500, 600, 600, 1000, 1500), 1},
		"a second owner": {after(0, 1, 500, 501, 1000, 1001), 2},
	} {
		t.Run(name, func(t *testing.T) { assert.InDelta(t, test.want, excess(test.arrivals), 0.02) })
	}

}
