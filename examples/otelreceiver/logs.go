package otelreceiver

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// toLogs returns records of one partition as one resource's log records, in
// their order.
func toLogs(p cloudtrail.Partition, records []cloudtrail.CloudResource, version string) (plog.Logs, error) {
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	rl.SetSchemaUrl(semconv.SchemaURL)
	resource := rl.Resource().Attributes()
	resource.PutStr(string(semconv.CloudProviderKey), semconv.CloudProviderAWS.Value.AsString())
	resource.PutStr(string(semconv.CloudRegionKey), p.Region)
	if p.AccountID != "" {
		resource.PutStr(string(semconv.CloudAccountIDKey), p.AccountID)
	}
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(scopeName)
	sl.Scope().SetVersion(version)
	sl.LogRecords().EnsureCapacity(len(records))
	for _, r := range records {
		if err := fill(sl.LogRecords().AppendEmpty(), r); err != nil {
			return plog.Logs{}, err
		}
	}
	return logs, nil
}

// fill makes lr the log record of r. The body is the event as CloudTrail wrote
// it where r has that, else the record as JSON.
func fill(lr plog.LogRecord, r cloudtrail.CloudResource) error {
	if !r.EventTime.IsZero() {
		lr.SetTimestamp(pcommon.NewTimestampFromTime(r.EventTime))
	}
	lr.SetObservedTimestamp(pcommon.NewTimestampFromTime(r.LastCaptured))
	body := r.Raw
	r.Raw = "" // once is enough
	if body == "" {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		body = string(text)
	}
	lr.Body().SetStr(valid(body))
	attributes := r.Attributes()
	lr.Attributes().EnsureCapacity(len(attributes))
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		switch v := attributes[name].(type) {
		case string:
			lr.Attributes().PutStr(name, valid(v))
		case bool:
			lr.Attributes().PutBool(name, v)
		case time.Time:
			lr.Attributes().PutStr(name, v.Format(time.RFC3339Nano))
		case []cloudtrail.Resource:
			list := lr.Attributes().PutEmptySlice(name)
			for _, resource := range v {
				putResource(list.AppendEmpty().SetEmptyMap(), resource)
			}
		}
	}
	return nil
}

// putResource uses the names of the record's JSON; what is empty is left out.
func putResource(m pcommon.Map, r cloudtrail.Resource) {
	if r.Type != "" {
		m.PutStr("resourceType", valid(r.Type))
	}
	if r.Name != "" {
		m.PutStr("resourceName", valid(r.Name))
	}
}

// valid makes s a text that OTLP can carry. A backend refuses any other, for
// good, and with it the whole page.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
