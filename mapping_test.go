package cloudtrail

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden records anew")

var (
	captured  = time.Date(2026, 3, 2, 12, 30, 0, 500_000_000, time.FixedZone("", 3600))
	wholeTime = time.Date(2026, 3, 1, 23, 59, 58, 0, time.FixedZone("", -3600))
)

func fullEvent() types.Event {
	return types.Event{
		AccessKeyId: aws.String("ASIAEXAMPLE"), CloudTrailEvent: aws.String(`{"eventVersion":"1.11"}`),
		EventId: aws.String("0f2b0000-0000-4000-8000-000000000001"), EventName: aws.String("CreateBucket"),
		EventSource: aws.String("s3.amazonaws.com"), EventTime: &wholeTime, ReadOnly: aws.String("false"), Username: aws.String("alice"),
		Resources: []types.Resource{{ResourceType: aws.String("AWS::S3::Bucket"), ResourceName: aws.String("logs")}},
	}
}

func TestMapEvent(t *testing.T) {
	with := func(change func(*types.Event)) types.Event { e := fullEvent(); change(&e); return e }
	ms := wholeTime.Add(7 * time.Millisecond)
	year10k := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string]types.Event{
		"full":             fullEvent(),
		"nothing":          {},
		"empty":            {EventId: aws.String(""), EventName: aws.String(""), EventTime: &time.Time{}, ReadOnly: aws.String(""), Username: aws.String(""), Resources: []types.Resource{}, CloudTrailEvent: aws.String("")},
		"no-id":            with(func(e *types.Event) { e.EventId = nil }),
		"no-id-ms":         with(func(e *types.Event) { e.EventId, e.EventTime = nil, &ms }),
		"no-id-no-time":    with(func(e *types.Event) { e.EventId, e.EventTime = nil, nil }),
		"no-id-no-user":    with(func(e *types.Event) { e.EventId, e.Username = nil, nil }),
		"no-name":          with(func(e *types.Event) { e.EventName = nil }),
		"no-name-no-id":    with(func(e *types.Event) { e.EventName, e.EventId = nil, nil }),
		"read-only-TRUE":   with(func(e *types.Event) { e.ReadOnly = aws.String("TRUE") }),
		"read-only-False":  with(func(e *types.Event) { e.ReadOnly = aws.String("False") }),
		"read-only-yes":    with(func(e *types.Event) { e.ReadOnly = aws.String("yes") }),
		"read-only-spaced": with(func(e *types.Event) { e.ReadOnly = aws.String(" true") }),
		"partial-resources": with(func(e *types.Event) {
			e.Resources = []types.Resource{{}, {ResourceType: aws.String("AWS::IAM::Role")}, {ResourceName: aws.String("reader")}}
		}),
		"unicode": with(func(e *types.Event) {
			e.Username, e.EventName = aws.String("Zoë 山田 \u2028 <&>"), aws.String("Größe")
		}),
		"invalid-utf8": with(func(e *types.Event) { e.EventId, e.Username = nil, aws.String("a\xff\xfe\x00\x1b\"\\") }),
		"ms":           with(func(e *types.Event) { e.EventTime = &ms }),
		"year-10000":   with(func(e *types.Event) { e.EventTime, e.EventId = &year10k, nil }),
	}
	for name, e := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(mapEvent(e, "eu-central-1", captured, true), "", "  ")
			require.NoError(t, err)
			golden(t, name, append(got, '\n'))
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "records", name+".json")
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))
}

func TestRaw(t *testing.T) {
	assert.Empty(t, mapEvent(fullEvent(), "r", captured, false).Raw)
	assert.Equal(t, `{"eventVersion":"1.11"}`, mapEvent(fullEvent(), "r", captured, true).Raw)
}

// Attributes has what the JSON has, as Go values.
func TestAttributes(t *testing.T) {
	full := mapEvent(fullEvent(), "eu-central-1", captured, true)
	assert.Equal(t, map[string]any{
		"UID": "0f2b0000-0000-4000-8000-000000000001", "NAME": "CreateBucket", "EVENT_ID": "0f2b0000-0000-4000-8000-000000000001",
		"EVENT_NAME": "CreateBucket", "EVENT_SOURCE": "s3.amazonaws.com", "EVENT_TIME": time.Date(2026, 3, 2, 0, 59, 58, 0, time.UTC),
		"READ_ONLY": false, "ACCESS_KEY_ID": "ASIAEXAMPLE", "USERNAME": "alice", "RESOURCES": []Resource{{"AWS::S3::Bucket", "logs"}},
		"CLOUD_PROVIDER": "AWS", "REGION": "eu-central-1", "LAST_CAPTURED": time.Date(2026, 3, 2, 11, 30, 0, 500_000_000, time.UTC),
		"RAW": `{"eventVersion":"1.11"}`,
	}, full.Attributes())
	assert.Empty(t, CloudResource{}.Attributes())

	for name, e := range map[string]types.Event{"full": fullEvent(), "nothing": {}} {
		r := mapEvent(e, "eu-central-1", captured, true)
		one, err := json.Marshal(r)
		require.NoError(t, err)
		other, err := json.Marshal(r.Attributes())
		require.NoError(t, err)
		assert.JSONEq(t, string(one), string(other), name)
	}
}

func TestDescribe(t *testing.T) {
	d := Describe()
	assert.Equal(t, "CloudTrailEvent", d.Object)
	assert.Equal(t, "Cloud Resource", d.Model)
	full := mapEvent(fullEvent(), "eu-central-1", captured, false).Attributes()
	assert.Len(t, d.Attributes, 13)
	for _, a := range d.Attributes {
		kinds := map[string]any{"string": "", "timestamp": time.Time{}, "boolean": false, "array": []Resource(nil)}
		require.Contains(t, kinds, a.Type)
		assert.Equal(t, reflect.TypeOf(kinds[a.Type]), reflect.TypeOf(full[a.Name]), a.Name)
		assert.True(t, a.Source == "Generated" || strings.HasPrefix(a.Source, "Event."), a.Source)
		delete(full, a.Name)
	}
	assert.Empty(t, full, "attributes that Describe leaves out")
	var keys []string
	for _, o := range d.Options {
		keys = append(keys, o.Key)
		assert.NotEmpty(t, o.Description)
		if o.Default != "" {
			_, err := ParseOperationOptions(map[string]string{o.Key: o.Default})
			assert.NoError(t, err)
		}
	}
	assert.Equal(t, optionKeys, keys)
}

func FuzzMapEvent(f *testing.F) {
	f.Add("id", "name", "source", int64(1772366400000), "true", "user", "type", uint8(255))
	f.Add("\xff", "\xff\xfe", "", int64(0), "", "\xc0", "\x80", uint8(255))
	f.Add("", "\xff", "\x00", int64(-1<<62), "tRuE", "\u2028", "", uint8(0b1010_1010))
	f.Fuzz(func(t *testing.T, id, name, source string, ms int64, readOnly, user, resource string, present uint8) {
		maybe := func(bit int, s string) *string {
			if present&(1<<bit) == 0 {
				return nil
			}
			return &s
		}
		e := types.Event{EventId: maybe(0, id), EventName: maybe(1, name), EventSource: maybe(2, source), ReadOnly: maybe(3, readOnly),
			Username: maybe(4, user), AccessKeyId: maybe(5, id), CloudTrailEvent: maybe(6, source)}
		if present&(1<<7) != 0 {
			at := time.UnixMilli(ms)
			e.EventTime = &at
			e.Resources = []types.Resource{{ResourceType: maybe(0, resource)}, {ResourceName: maybe(1, resource)}}
		}
		r := mapEvent(e, "us-east-1", captured, true)
		if r.UID == "" || r.Name == "" || id != "" && present&1 != 0 && r.UID != string([]rune(id)) {
			t.Fatalf("UID %q, name %q", r.UID, r.Name)
		}
		if !reflect.DeepEqual(r, mapEvent(e, "us-east-1", captured, true)) {
			t.Fatal("not the same twice")
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(b) || !utf8.Valid(b) {
			t.Fatalf("%q", b)
		}
		var back CloudResource
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, r) {
			t.Fatalf("%v, then %v", r, back)
		}
	})
}
