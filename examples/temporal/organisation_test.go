package main

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// organisation is a fake AWS with activities that read it, without a network
// and without a quota.
type organisation struct {
	*fakeAWS
	*Activities
	memory *memoryStore
}

const testAccount = "222200000000" // the first of an organisation's

func newOrganisation(t *testing.T, accounts, regions, events int) *organisation {
	now := time.Now()
	o := &organisation{
		fakeAWS: newFakeAWS(fakeOptions{Accounts: accounts, Regions: regions, Events: events,
			From: now.Add(-6 * 24 * time.Hour), To: now.Add(-time.Hour)}),
		memory: newMemoryStore(),
	}
	for i := range accounts {
		for _, name := range o.regions {
			o.fake.Account(accountID(i)).Region(name).SetQuota(cloudtrailtest.Quota{Rate: math.Inf(1)})
		}
	}
	o.Activities = &Activities{Store: o.memory, Log: slog.New(slog.DiscardHandler), Connector: o.connector(t)}
	return o
}

func (o *organisation) connector(t *testing.T) *cloudtrail.Connector {
	settings := o.settings()
	settings["maxRetries"] = "2"
	cfg, err := cloudtrail.ConfigFromSettings(settings)
	require.NoError(t, err)
	c, err := cloudtrail.New(t.Context(), cfg,
		cloudtrail.WithAWSConfig(o.fake.AWSConfig("us-east-1")), cloudtrail.WithLookupRate(math.Inf(1)))
	require.NoError(t, err)
	return c
}

// partition returns the one of the first account in that Region.
func (o *organisation) partition(region string) cloudtrail.Partition {
	return cloudtrail.Partition{AccountID: testAccount, RoleARN: o.roles[0], Region: region}
}

// input is that of the first Read of the partition in us-east-1.
func (o *organisation) input() ReadInput {
	return ReadInput{Sync: "test", Epoch: 1, Partition: o.partition("us-east-1"), Budget: time.Hour}
}

// hookedStore lets a test have its say before a page is stored.
type hookedStore struct {
	Store
	mu     sync.Mutex
	puts   int
	before func(put int, key Key, token cloudtrail.SyncToken) error
}

func (s *hookedStore) Put(ctx context.Context, key Key, f Fence, records []cloudtrail.CloudResource, token cloudtrail.SyncToken) error {
	s.mu.Lock()
	s.puts++
	n := s.puts
	s.mu.Unlock()
	if err := s.before(n, key, token); err != nil {
		return err
	}
	return s.Store.Put(ctx, key, f, records, token)
}

// beforePut calls hook before each page is stored, with its number.
func (o *organisation) beforePut(hook func(put int, key Key, token cloudtrail.SyncToken) error) {
	o.Store = &hookedStore{Store: o.memory, before: hook}
}

// missing returns how many of the organisation's events aren't stored.
func (o *organisation) missing() int {
	n := 0
	for id := range o.events(time.Now()) {
		if _, ok := o.memory.records[id]; !ok {
			n++
		}
	}
	return n
}

// activityEnvironment runs single activities of the organisation.
func (o *organisation) activityEnvironment(t *testing.T) *testsuite.TestActivityEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(2 * time.Minute)
	env.RegisterActivity(o.Activities)
	return env
}

// workflowEnvironment runs whole syncs of the organisation.
func (o *organisation) workflowEnvironment(t *testing.T) *testsuite.TestWorkflowEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(2 * time.Minute)
	env.RegisterWorkflow(SyncWorkflow)
	env.RegisterWorkflow(BatchWorkflow)
	env.RegisterActivity(o.Activities)
	return env
}

// run is what happened in a sync.
type run struct {
	report  Report
	err     error
	reads   map[string]int // attempts, by activity id
	batches []string       // workflow ids
}

// sync runs a whole sync; prepare may be nil.
func (o *organisation) sync(t *testing.T, in SyncInput, prepare func(*testsuite.TestWorkflowEnvironment)) run {
	env := o.workflowEnvironment(t)
	if prepare != nil {
		prepare(env)
	}
	r := run{reads: map[string]int{}}
	var mu sync.Mutex
	env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		mu.Lock()
		defer mu.Unlock()
		r.reads[info.ActivityID]++
	})
	env.SetOnChildWorkflowStartedListener(func(info *workflow.Info, _ workflow.Context, _ converter.EncodedValues) {
		r.batches = append(r.batches, info.WorkflowExecution.ID)
	})
	env.ExecuteWorkflow(SyncWorkflow, in)
	require.True(t, env.IsWorkflowCompleted())
	r.err = env.GetWorkflowError()
	if r.err == nil {
		require.NoError(t, env.GetWorkflowResult(&r.report))
	}
	r.report, r.err = reportOf(&r.report, r.err)
	return r
}
