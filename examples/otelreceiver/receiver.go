package otelreceiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
)

// logsReceiver syncs once per interval. Everything below done is used by the
// goroutine of run alone, once that is started.
type logsReceiver struct {
	cfg     *Config
	set     receiver.Settings
	next    consumer.Logs
	obs     *receiverhelper.ObsReport
	options []cloudtrail.Option

	connector *cloudtrail.Connector
	stop      context.CancelFunc
	done      chan struct{}

	host   component.Host
	sync   cloudtrail.SyncOptions // Since: what is stored
	tokens *tokenStore
	recent recent
	broken bool // a permanent error was reported, which the Collector takes no status after
}

func newLogsReceiver(set receiver.Settings, cfg *Config, next consumer.Logs) (*logsReceiver, error) {
	obs, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID:             set.ID,
		Transport:              "https",
		ReceiverCreateSettings: set,
	})
	if err != nil {
		return nil, err
	}
	options := []cloudtrail.Option{
		cloudtrail.WithLogger(slog.New(zapslog.NewHandler(set.Logger.Core()))),
	}
	if cfg.RawEvents {
		options = append(options, cloudtrail.WithRawEvents())
	}
	return &logsReceiver{cfg: cfg, set: set, next: next, obs: obs, options: options, recent: recent{}}, nil
}

// Start implements component.Component. It reads the stored token and starts
// the first sync; AWS is asked later, so a Collector starts also where CloudTrail
// is out of reach.
func (r *logsReceiver) Start(ctx context.Context, host component.Host) error {
	cfg, err := r.cfg.connector()
	if err != nil {
		return errors.Join(inYAML(err)...)
	}
	if r.connector, err = cloudtrail.New(ctx, cfg, r.options...); err != nil {
		return errors.Join(inYAML(err)...)
	}
	if r.sync, err = r.cfg.syncOptions(); err != nil {
		return errors.Join(inYAML(err)...)
	}
	if r.cfg.StorageID == nil {
		r.set.Logger.Warn("without a storage extension every start reads all of lookback_days again", zap.Float64("lookback_days", r.cfg.LookbackDays))
	}
	if r.tokens, err = openTokens(ctx, host, r.cfg.StorageID, r.set.ID, r.sync.Filter); err != nil {
		return err
	}
	if r.sync.Since, err = r.tokens.load(ctx); err != nil {
		return errors.Join(err, r.tokens.close(ctx))
	}
	r.host = host
	r.done = make(chan struct{})
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // Start's own context ends with it
	r.stop = stop
	go r.run(running)
	return nil
}

// Shutdown implements component.Component. It interrupts the sync and waits for
// it, so that the token of every page that the pipeline took is stored.
func (r *logsReceiver) Shutdown(ctx context.Context) error {
	if r.done == nil {
		return nil // not started
	}
	r.stop()
	select {
	case <-r.done:
		return r.tokens.close(ctx)
	case <-ctx.Done():
		return fmt.Errorf("the pipeline still holds a page: %w", ctx.Err())
	}
}

func (r *logsReceiver) run(ctx context.Context) {
	defer close(r.done)
	interval := time.NewTicker(r.cfg.CollectionInterval)
	defer interval.Stop()
	for ctx.Err() == nil {
		r.collect(ctx)
		select {
		case <-ctx.Done():
		case <-interval.C:
		}
	}
}

// collect runs one sync. Its token is stored also after an error: it covers
// nothing that the pipeline didn't take, and keeps what is owed from falling out
// of lookback_days while the pipeline is down.
func (r *logsReceiver) collect(ctx context.Context) {
	started := time.Now()
	res, err := r.connector.Sync(ctx, r.sync, r.deliver)
	r.sync.Since = res.Token
	r.recent.prune(started)
	if storeErr := r.tokens.store(ctx, res.Token); storeErr != nil {
		err = errors.Join(err, storeErr)
	}
	if ctx.Err() != nil {
		return // shut down
	}
	r.report(err)
}

// deliver is the handler of a sync: only after the pipeline has taken the page
// the token that covers it is stored.
func (r *logsReceiver) deliver(ctx context.Context, page cloudtrail.Page) error {
	if records := r.recent.unseen(page); len(records) > 0 {
		logs, err := toLogs(page.Partition, records, r.set.BuildInfo.Version)
		if err != nil {
			return fmt.Errorf("%s: %w", page.Partition, err)
		}
		op := r.obs.StartLogsOp(ctx)
		err = r.next.ConsumeLogs(op, logs)
		r.obs.EndLogsOp(op, "cloudtrail", len(records), err)
		if err != nil {
			return fmt.Errorf("the pipeline refused %d events of %s, which the next interval sends again: %w", len(records), page.Partition, err)
		}
		r.recent.add(page.Partition, records)
	}
	return r.tokens.store(ctx, page.Token())
}

// report tells the log and the host how a sync ended. The receiver goes on at
// the next interval in any case; what it calls permanent needs a person all the
// same, so that is the status until the Collector is started again.
func (r *logsReceiver) report(err error) {
	log, event := r.set.Logger.Warn, componentstatus.NewEvent(componentstatus.StatusOK)
	permanent := isPermanent(err)
	switch {
	case permanent:
		log, event = r.set.Logger.Error, componentstatus.NewPermanentErrorEvent(err)
	case err != nil:
		event = componentstatus.NewRecoverableErrorEvent(err)
	}
	for _, e := range parts(err) {
		log("the sync is not complete; the next interval goes on from here", zap.Error(e))
	}
	if !r.broken {
		componentstatus.ReportStatus(r.host, event)
	}
	r.broken = r.broken || permanent
}

// isPermanent reports whether the next interval is bound to fail in the same
// way: the pipeline will never take that page, or Sync refuses the options. What
// CloudTrail answers is not permanent: permissions and keys are mended there.
func isPermanent(err error) bool {
	_, bad := errors.AsType[*cloudtrail.ConfigError](err)
	return consumererror.IsPermanent(err) || bad || errors.Is(err, cloudtrail.ErrInvalidToken)
}
