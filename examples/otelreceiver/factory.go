// Package otelreceiver is an OpenTelemetry Collector receiver, "cloudtrail",
// that reads the event history of AWS CloudTrail as log records. README.md
// shows how to build it into a Collector and what to configure.
package otelreceiver

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
)

// scopeName names this module, in the log records' scope too.
const scopeName = "github.com/cloudtrail-connector/cloudtrail/examples/otelreceiver"

// NewFactory returns what a Collector makes the receiver with.
func NewFactory() receiver.Factory {
	return receiver.NewFactory(
		component.MustNewType("cloudtrail"),
		createDefaultConfig,
		receiver.WithLogs(createLogs, component.StabilityLevelDevelopment),
	)
}

func createLogs(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs, error) {
	return newLogsReceiver(set, cfg.(*Config), next)
}
