package otelreceiver

import (
	"testing"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
)

func TestLogRecord(t *testing.T) {
	at, captured := time.Date(2026, 11, 2, 3, 4, 5, 0, time.UTC), time.Date(2026, 11, 2, 4, 0, 0, 0, time.UTC)
	readOnly := false
	record := cloudtrail.CloudResource{
		UID: "e1", Name: "RunInstances", EventID: "e1", EventName: "RunInstances", EventSource: "ec2.amazonaws.com",
		EventTime: at, ReadOnly: &readOnly, AccessKeyID: "AKIAIOSFODNN7EXAMPLE", Username: "alice",
		Resources:     []cloudtrail.Resource{{Type: "AWS::EC2::Instance", Name: "i-1"}, {Name: "only-a-name"}},
		CloudProvider: "AWS", Region: "eu-central-1", LastCaptured: captured,
	}
	bare := cloudtrail.CloudResource{UID: "eu-central-1:::", Name: "eu-central-1:::", CloudProvider: "AWS", Region: "eu-central-1", LastCaptured: captured}
	raw := record
	raw.Raw = `{"eventVersion":"1.11"}`
	partition := cloudtrail.Partition{AccountID: "111122223333", Region: "eu-central-1"}
	logs, err := toLogs(partition, []cloudtrail.CloudResource{record, bare, raw}, "v1.2.3")
	require.NoError(t, err)

	require.Equal(t, 1, logs.ResourceLogs().Len())
	rl := logs.ResourceLogs().At(0)
	require.Equal(t, "https://opentelemetry.io/schemas/1.43.0", rl.SchemaUrl())
	require.Equal(t, map[string]any{"cloud.provider": "aws", "cloud.region": "eu-central-1", "cloud.account.id": "111122223333"}, rl.Resource().Attributes().AsRaw())
	scope := rl.ScopeLogs().At(0)
	require.Equal(t, "v1.2.3", scope.Scope().Version())
	require.Equal(t, 3, scope.LogRecords().Len())

	attributes := map[string]any{
		"UID": "e1", "NAME": "RunInstances", "EVENT_ID": "e1", "EVENT_NAME": "RunInstances", "EVENT_SOURCE": "ec2.amazonaws.com",
		"EVENT_TIME": "2026-11-02T03:04:05Z", "READ_ONLY": false, "ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "USERNAME": "alice",
		"RESOURCES": []any{
			map[string]any{"resourceType": "AWS::EC2::Instance", "resourceName": "i-1"},
			map[string]any{"resourceName": "only-a-name"},
		},
		"CLOUD_PROVIDER": "AWS", "REGION": "eu-central-1", "LAST_CAPTURED": "2026-11-02T04:00:00Z",
	}
	for i, want := range []struct {
		body       string
		at         time.Time
		attributes map[string]any
	}{
		{`{"UID":"e1","NAME":"RunInstances","EVENT_ID":"e1","EVENT_NAME":"RunInstances","EVENT_SOURCE":"ec2.amazonaws.com",` +
			`"EVENT_TIME":"2026-11-02T03:04:05Z","READ_ONLY":false,"ACCESS_KEY_ID":"AKIAIOSFODNN7EXAMPLE","USERNAME":"alice",` +
			`"RESOURCES":[{"resourceType":"AWS::EC2::Instance","resourceName":"i-1"},{"resourceName":"only-a-name"}],` +
			`"CLOUD_PROVIDER":"AWS","REGION":"eu-central-1","LAST_CAPTURED":"2026-11-02T04:00:00Z"}`, at, attributes},
		{`{"UID":"eu-central-1:::","NAME":"eu-central-1:::","CLOUD_PROVIDER":"AWS","REGION":"eu-central-1","LAST_CAPTURED":"2026-11-02T04:00:00Z"}`, time.Unix(0, 0).UTC(),
			map[string]any{"UID": "eu-central-1:::", "NAME": "eu-central-1:::", "CLOUD_PROVIDER": "AWS", "REGION": "eu-central-1", "LAST_CAPTURED": "2026-11-02T04:00:00Z"}},
		{`{"eventVersion":"1.11"}`, at, attributes},
	} {
		lr := scope.LogRecords().At(i)
		require.Equal(t, want.body, lr.Body().Str())
		require.Equal(t, want.attributes, lr.Attributes().AsRaw())
		require.Equal(t, want.at, lr.Timestamp().AsTime())
		require.Equal(t, captured, lr.ObservedTimestamp().AsTime())
		require.Equal(t, plog.SeverityNumberUnspecified, lr.SeverityNumber())
	}
}

// Every attribute that the library describes has a type that a log record has.
func TestEveryAttributeIsMapped(t *testing.T) {
	yes := true
	full := cloudtrail.CloudResource{
		UID: "u", Name: "n", EventID: "e", EventName: "n", EventSource: "s", EventTime: time.Now(), ReadOnly: &yes,
		AccessKeyID: "a", Username: "u", Resources: []cloudtrail.Resource{{Name: "r"}}, CloudProvider: "AWS", Region: "r", LastCaptured: time.Now(),
	}
	lr := plog.NewLogRecord()
	require.NoError(t, fill(lr, full))
	for _, a := range cloudtrail.Describe().Attributes {
		_, ok := lr.Attributes().Get(a.Name)
		require.True(t, ok, a.Name)
	}
	require.Equal(t, len(cloudtrail.Describe().Attributes), lr.Attributes().Len())
}

func TestUnknownAccount(t *testing.T) {
	logs, err := toLogs(cloudtrail.Partition{Region: "us-east-1"}, nil, "")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"cloud.provider": "aws", "cloud.region": "us-east-1"}, logs.ResourceLogs().At(0).Resource().Attributes().AsRaw())
}

// Protocol buffers carry UTF-8 only; one such text would have a backend refuse
// its page for ever.
func TestInvalidUTF8(t *testing.T) {
	bad := "a\xffb"
	lr := plog.NewLogRecord()
	require.NoError(t, fill(lr, cloudtrail.CloudResource{Username: bad, Raw: bad, Resources: []cloudtrail.Resource{{Type: bad, Name: bad}}}))
	require.Equal(t, "a\uFFFDb", lr.Body().Str())
	require.Equal(t, map[string]any{
		"USERNAME":  "a\uFFFDb",
		"RESOURCES": []any{map[string]any{"resourceType": "a\uFFFDb", "resourceName": "a\uFFFDb"}},
	}, lr.Attributes().AsRaw())
}
