package otelreceiver

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Shutdown interrupts a pipeline that hangs, and loses nothing of it.
func TestShutdownInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, ids := newFake()
		h, next := newHost(), &pipeline{}
		var hanging consumerFunc = func(ctx context.Context) error {
			if next.calls.Load() >= 3 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		r, logs := start(t, testConfig(), fake, h, &hangs{hanging, next})
		time.Sleep(firstSync)
		require.EqualValues(t, 3, next.calls.Load())
		before := time.Now()
		require.NoError(t, r.Shutdown(t.Context()))
		require.Zero(t, time.Since(before), "in the bubble: without waiting for anything")
		require.Empty(t, h.statuses(), "being shut down is no error")
		require.Zero(t, logs.FilterMessageSnippet("not complete").Len())

		r, _ = start(t, testConfig(), fake, h, next)
		time.Sleep(firstSync)
		require.NoError(t, r.Shutdown(t.Context()))
		requireTaken(t, ids, next, 2)
	})
}

// A pipeline that ignores its context holds Shutdown no longer than the
// Collector allows.
func TestShutdownGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, ids := newFake()
		release := make(chan struct{})
		h, next := newHost(), &pipeline{}
		next.fail = func(int) error { <-release; return nil }
		r, _ := start(t, testConfig(), fake, h, next)
		time.Sleep(firstSync)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.Shutdown(ctx), context.DeadlineExceeded)
		require.Zero(t, h.closed, "the sync still uses it")
		close(release)
		<-r.done
		token, err := cloudtrail.ParseSyncToken(h.token())
		require.NoError(t, err)
		require.LessOrEqual(t, len(read(t, fake, token)), len(ids)-10+1, "the page was taken after all, and that is kept")
	})
}

func TestStartFails(t *testing.T) {
	other, missing := component.MustNewID("other"), component.MustNewID("missing")
	for name, c := range map[string]struct {
		change func(*Config, *host)
		want   string
	}{
		"no such extension": {func(c *Config, _ *host) { c.StorageID = &missing }, `"missing" is not in service::extensions`},
		"not a storage":     {func(c *Config, _ *host) { c.StorageID = &other }, `"other" is not a storage extension`},
		"damaged token":     {func(_ *Config, h *host) { h.values["sync_token"] = "ct1.AAAA" }, "invalid sync token"},
		"unusable Region": {func(c *Config, _ *host) {
			c.DefaultRegion, c.Regions = "us-iso-east-1", []string{"all"}
		}, `regions: "all" is known for the AWS partitions aws`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, h := testConfig(), newHost()
			c.change(cfg, h)
			r, _ := create(t, cfg, cloudtrailtest.New(), consumertest.NewNop())
			require.ErrorContains(t, r.Start(t.Context(), h), c.want)
			require.NoError(t, r.Shutdown(t.Context()))
			require.Len(t, h.opened, h.closed)
		})
	}
}

func TestWithoutStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, ids := newFake()
		cfg, next := testConfig(), &pipeline{}
		cfg.StorageID = nil
		r, logs := start(t, cfg, fake, componenttest.NewNopHost(), next) // a host without status, too
		time.Sleep(time.Hour)
		require.NoError(t, r.Shutdown(t.Context()))
		requireTaken(t, ids, next, 0)
		require.Equal(t, 1, logs.FilterMessageSnippet("without a storage extension").Len())
	})
}

func TestRawEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := cloudtrailtest.New()
		fake.Account(cloudtrailtest.AccountID).Region("us-east-1").Add(cloudtrailtest.Event{
			EventID: "1", EventTime: time.Now().Add(-time.Hour), CloudTrailEvent: `{"eventVersion":"1.11"}`})
		cfg, next := testConfig(), &pipeline{}
		cfg.RawEvents = true
		r, _ := start(t, cfg, fake, newHost(), next)
		time.Sleep(firstSync)
		require.NoError(t, r.Shutdown(t.Context()))
		require.Equal(t, 1, next.LogRecordCount())
		lr := next.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
		require.Equal(t, `{"eventVersion":"1.11"}`, lr.Body().Str())
	})
}

// The Collector's own metrics count what the pipeline took and what it refused.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, _ := newFake()
		telemetry := componenttest.NewTelemetry()
		defer func() { require.NoError(t, telemetry.Shutdown(context.Background())) }()
		next := &pipeline{fail: func(n int) error {
			if n == 4 {
				return errors.New("queue is full")
			}
			return nil
		}}
		created, _ := create(t, testConfig(), fake, next)
		created.set.TelemetrySettings = telemetry.NewTelemetrySettings()
		r, err := newLogsReceiver(created.set, created.cfg, next)
		require.NoError(t, err)
		r.options = created.options
		require.NoError(t, r.Start(t.Context(), newHost()))
		time.Sleep(firstSync)
		require.NoError(t, r.Shutdown(t.Context()))
		for name, want := range map[string]int64{"otelcol_receiver_accepted_log_records": 30, "otelcol_receiver_refused_log_records": 10} {
			metric, err := telemetry.GetMetric(name)
			require.NoError(t, err)
			require.Equal(t, want, metric.Data.(metricdata.Sum[int64]).DataPoints[0].Value, name)
		}
	})
}

// What the library has to say goes to the Collector's log.
func TestTheLibraryLogs(t *testing.T) {
	cfg := testConfig()
	cfg.Regions = []string{"eu-central-1"}
	r, logs := start(t, cfg, cloudtrailtest.New(), newHost(), consumertest.NewNop())
	require.NoError(t, r.Shutdown(t.Context()))
	require.Equal(t, 1, logs.FilterMessageSnippet("us-east-1 is not among the Regions").Len())
}
