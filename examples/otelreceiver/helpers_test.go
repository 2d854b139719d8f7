package otelreceiver

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var storageID = component.MustNewID("memory")

// testConfig reads two Regions and keeps its token in the host's storage.
func testConfig() *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Regions = []string{"us-east-1", "eu-central-1"}
	cfg.PageSize = 10
	cfg.StorageID = &storageID
	return cfg
}

// newFake has 60 events in the one Region and 35 in the other; all of them are
// older than what CloudTrail may still deliver late.
func newFake() (*cloudtrailtest.Fake, map[string]bool) {
	fake := cloudtrailtest.New()
	now := time.Now()
	ids := map[string]bool{}
	for seed, n := range map[uint64]int{1: 60, 2: 35} {
		fake.Account(cloudtrailtest.AccountID).Region([]string{1: "us-east-1", 2: "eu-central-1"}[seed]).
			SetHistory(cloudtrailtest.Uniform(seed, n, now.AddDate(0, 0, -3), now.Add(-time.Hour)))
		for i := range n {
			ids[cloudtrailtest.EventID(seed, i)] = true
		}
	}
	return fake, ids
}

// start returns a running receiver made by the factory, and its log.
func start(t *testing.T, cfg *Config, fake *cloudtrailtest.Fake, h component.Host, next consumer.Logs) (*logsReceiver, *observer.ObservedLogs) {
	t.Helper()
	r, logs := create(t, cfg, fake, next)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel() // a component must not use Start's context later
	require.NoError(t, r.Start(ctx, h))
	return r, logs
}

func create(t *testing.T, cfg *Config, fake *cloudtrailtest.Fake, next consumer.Logs) (*logsReceiver, *observer.ObservedLogs) {
	t.Helper()
	factory := NewFactory()
	set := receivertest.NewNopSettings(factory.Type())
	core, logs := observer.New(zap.DebugLevel)
	set.Logger = zap.New(core)
	created, err := factory.CreateLogs(t.Context(), set, cfg, next)
	require.NoError(t, err)
	r := created.(*logsReceiver)
	r.options = append(r.options, cloudtrail.WithAWSConfig(fake.AWSConfig("us-east-1")))
	return r, logs
}

// pipeline is a sink that can refuse: fail is asked with the number of the
// call, from 1.
type pipeline struct {
	consumertest.LogsSink
	fail  func(n int) error
	calls atomic.Int64
}

func (p *pipeline) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	n := p.calls.Add(1)
	if p.fail != nil {
		if err := p.fail(int(n)); err != nil {
			return err
		}
	}
	return p.LogsSink.ConsumeLogs(ctx, logs)
}

// ids counts the log records taken, by UID: the event id where there is one.
func (p *pipeline) ids() map[string]int {
	n := map[string]int{}
	for _, logs := range p.AllLogs() {
		for _, rl := range logs.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, lr := range sl.LogRecords().All() {
					uid, _ := lr.Attributes().Get("UID")
					n[uid.Str()]++
				}
			}
		}
	}
	return n
}

// requireTaken checks that every one of these events was taken, and nothing
// else, and how many were taken more often than once. A sync that goes on from
// a token reads the second where it stopped again, so after each interruption
// one event of each Region may come twice.
func requireTaken(t *testing.T, want map[string]bool, p *pipeline, repeats int) {
	t.Helper()
	got, repeated := p.ids(), 0
	for id := range want {
		require.Contains(t, got, id, "lost")
		repeated += got[id] - 1
	}
	require.Len(t, got, len(want))
	require.LessOrEqual(t, repeated, repeats, "sent again")
}

// host has one storage extension and takes note of the status.
type host struct {
	*memory
	mu     sync.Mutex // of events
	events []*componentstatus.Event
}

func newHost() *host { return &host{memory: &memory{values: map[string]string{}}} }

func (h *host) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{storageID: h.memory, component.MustNewID("other"): struct {
		component.StartFunc
		component.ShutdownFunc
	}{}}
}

func (h *host) Report(e *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

func (h *host) statuses() []componentstatus.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []componentstatus.Status
	for _, e := range h.events {
		all = append(all, e.Status())
	}
	return all
}

// firstError returns the error of the first status.
func (h *host) firstError() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events[0].Err()
}

// memory is a storage extension and its only client.
type memory struct {
	component.StartFunc
	component.ShutdownFunc

	mu     sync.Mutex
	values map[string]string
	fail   func() error // asked before each Set
	opened []component.ID
	closed int
	onSet  func(values map[string]string) // told after each Set
}

func (m *memory) GetClient(_ context.Context, _ component.Kind, id component.ID, _ string) (storage.Client, error) {
	m.opened = append(m.opened, id)
	return m, nil
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.values[key]; ok {
		return []byte(v), nil
	}
	return nil, nil
}

func (m *memory) Set(ctx context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.fail != nil {
		if err := m.fail(); err != nil {
			return err
		}
	}
	m.values[key] = string(value)
	if m.onSet != nil {
		m.onSet(maps.Clone(m.values))
	}
	return nil
}

// token returns what is stored for no filter.
func (m *memory) token() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values["sync_token"]
}

func (m *memory) Delete(context.Context, string) error               { panic("not used") }
func (m *memory) Batch(context.Context, ...*storage.Operation) error { panic("not used") }
func (m *memory) Close(context.Context) error                        { m.closed++; return nil }

// hangs asks before it passes logs on; the answer may wait for the context.
type hangs struct {
	before consumerFunc
	*pipeline
}

type consumerFunc func(ctx context.Context) error

func (h *hangs) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	if err := h.before(ctx); err != nil {
		return err
	}
	return h.pipeline.ConsumeLogs(ctx, logs)
}

// begin is when every synctest bubble begins.
var begin = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// read returns the ids of what a sync from the token on reads.
func read(t *testing.T, fake *cloudtrailtest.Fake, token cloudtrail.SyncToken) map[string]bool {
	t.Helper()
	cfg, err := testConfig().connector()
	require.NoError(t, err)
	connector, err := cloudtrail.New(t.Context(), cfg, cloudtrail.WithAWSConfig(fake.AWSConfig("us-east-1")))
	require.NoError(t, err)
	ids := map[string]bool{}
	_, err = connector.Sync(t.Context(), cloudtrail.SyncOptions{Since: token}, func(_ context.Context, page cloudtrail.Page) error {
		for _, r := range page.Records {
			ids[r.EventID] = true
		}
		return nil
	})
	require.NoError(t, err)
	return ids
}
