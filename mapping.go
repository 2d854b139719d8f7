package cloudtrail

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
)

// CloudResource is one CloudTrail event as a Cloud Resource record. Its JSON
// keys are the attribute names; what the event doesn't have is empty here and
// left out of the JSON. Times are UTC. The source is the Event of
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_Event.html
type CloudResource struct {
	// UID identifies the record: the event id, or
	// "{region}:{eventName}:{eventTime}:{username}" for an event without one.
	// The same event read again has the same UID.
	UID string `json:"UID,omitempty"`

	Name          string     `json:"NAME,omitempty"` // the event name, else the UID
	EventID       string     `json:"EVENT_ID,omitempty"`
	EventName     string     `json:"EVENT_NAME,omitempty"`
	EventSource   string     `json:"EVENT_SOURCE,omitempty"` // the service, "iam.amazonaws.com"
	EventTime     time.Time  `json:"EVENT_TIME,omitzero"`
	ReadOnly      *bool      `json:"READ_ONLY,omitempty"` // nil where the event doesn't say
	AccessKeyID   string     `json:"ACCESS_KEY_ID,omitempty"`
	Username      string     `json:"USERNAME,omitempty"`
	Resources     []Resource `json:"RESOURCES,omitempty"`
	CloudProvider string     `json:"CLOUD_PROVIDER,omitempty"` // "AWS"
	Region        string     `json:"REGION,omitempty"`         // the Region that was read
	LastCaptured  time.Time  `json:"LAST_CAPTURED,omitzero"`   // when the sync started: one time for all its records
	Raw           string     `json:"RAW,omitempty"`            // CloudTrailEvent, JSON as a text; only with WithRawEvents
}

// Resource is one resource that an event names. Either field may be empty.
type Resource struct {
	Type string `json:"resourceType,omitempty"` // "AWS::S3::Bucket"
	Name string `json:"resourceName,omitempty"`
}

// mapEvent returns the record of an event that was read in region by the sync
// of time captured.
func mapEvent(e types.Event, region string, captured time.Time, raw bool) CloudResource {
	r := CloudResource{
		EventID:       valid(e.EventId),
		EventName:     valid(e.EventName),
		EventSource:   valid(e.EventSource),
		EventTime:     eventTime(e.EventTime),
		AccessKeyID:   valid(e.AccessKeyId),
		Username:      valid(e.Username),
		CloudProvider: "AWS",
		Region:        region,
		LastCaptured:  captured.UTC().Round(0), // without the monotonic clock, so that records compare
	}
	if v := aws.ToString(e.ReadOnly); strings.EqualFold(v, "true") || strings.EqualFold(v, "false") {
		r.ReadOnly = aws.Bool(strings.EqualFold(v, "true"))
	}
	if len(e.Resources) > 0 {
		r.Resources = make([]Resource, len(e.Resources))
		for i, s := range e.Resources {
			r.Resources[i] = Resource{Type: valid(s.ResourceType), Name: valid(s.ResourceName)}
		}
	}
	if raw {
		r.Raw = valid(e.CloudTrailEvent)
	}
	r.UID = r.EventID
	if r.UID == "" {
		at := ""
		if !r.EventTime.IsZero() {
			at = r.EventTime.Format(time.RFC3339Nano)
		}
		r.UID = strings.Join([]string{region, r.EventName, at, r.Username}, ":")
	}
	r.Name = r.EventName
	if r.Name == "" {
		r.Name = r.UID
	}
	return r
}

// valid returns s, "" for nil, in valid UTF-8, with U+FFFD for each byte that
// isn't: what a JSON encoder mends silently a host's other encodings refuse.
func valid(s *string) string {
	if v := aws.ToString(s); utf8.ValidString(v) {
		return v
	}
	return string([]rune(*s))
}

// eventTime returns t in UTC. A year that RFC 3339 can't write counts as
// absent: it would make the whole record unmarshallable.
func eventTime(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	utc := t.UTC().Round(0)
	if utc.Year() < 0 || utc.Year() > 9999 {
		return time.Time{}
	}
	return utc
}

// Attributes returns the record by attribute name, the names of its JSON. The
// values are string, time.Time, bool and []Resource. Absent ones are left out.
func (r CloudResource) Attributes() map[string]any {
	m := map[string]any{}
	for name, v := range map[string]string{
		"UID": r.UID, "NAME": r.Name, "EVENT_ID": r.EventID, "EVENT_NAME": r.EventName,
		"EVENT_SOURCE": r.EventSource, "ACCESS_KEY_ID": r.AccessKeyID, "USERNAME": r.Username,
		"CLOUD_PROVIDER": r.CloudProvider, "REGION": r.Region, "RAW": r.Raw,
	} {
		if v != "" {
			m[name] = v
		}
	}
	for name, v := range map[string]time.Time{"EVENT_TIME": r.EventTime, "LAST_CAPTURED": r.LastCaptured} {
		if !v.IsZero() {
			m[name] = v
		}
	}
	if r.ReadOnly != nil {
		m["READ_ONLY"] = *r.ReadOnly
	}
	if len(r.Resources) > 0 {
		m["RESOURCES"] = r.Resources
	}
	return m
}

// ObjectSchema describes the records of a sync and the options it takes.
type ObjectSchema struct {
	Object     string            // "CloudTrailEvent"
	Model      string            // "Cloud Resource"
	Attributes []AttributeSchema // the 13 attributes; RAW, an extra of WithRawEvents, is not among them
	Options    []OptionSchema    // the keys of ParseOperationOptions
}

// AttributeSchema describes one attribute.
type AttributeSchema struct {
	Name   string // "READ_ONLY"
	Source string // "Event.readOnly", or "Generated"
	Type   string // "string", "timestamp", "boolean" or "array"
}

// OptionSchema describes one operation option.
type OptionSchema struct {
	Key         string // of ParseOperationOptions
	Type        string // "number" or "string"
	Default     string // "": none
	Description string
}

// Describe returns the schema of the records, for hosts that ask what comes.
func Describe() ObjectSchema {
	return ObjectSchema{
		Object: "CloudTrailEvent",
		Model:  "Cloud Resource",
		Attributes: []AttributeSchema{
			{"ACCESS_KEY_ID", "Event.accessKeyId", "string"},
			{"EVENT_ID", "Event.eventId", "string"},
			{"EVENT_NAME", "Event.eventName", "string"},
			{"NAME", "Event.eventName, else UID", "string"},
			{"EVENT_SOURCE", "Event.eventSource", "string"},
			{"EVENT_TIME", "Event.eventTime", "timestamp"},
			{"READ_ONLY", "Event.readOnly", "boolean"},
			{"RESOURCES", "Event.resources[]", "array"},
			{"USERNAME", "Event.username", "string"},
			{"UID", "Event.eventId, else {region}:{eventName}:{eventTime}:{username}", "string"},
			{"CLOUD_PROVIDER", "Generated", "string"},
			{"REGION", "Generated", "string"},
			{"LAST_CAPTURED", "Generated", "timestamp"},
		},
		Options: []OptionSchema{
			{"lookbackDays", "number", "7", "How many days back to read, fractions allowed; CloudTrail keeps 90."},
			{"since", "string", "", "The sync token of the sync before, an RFC 3339 time or Unix milliseconds; wins where it is more recent than lookbackDays, which limits an older one."},
			{"filter", "string", "", `One lookup attribute as Key=Value, such as "ReadOnly=false". Keys: ` + strings.Join(filterKeys, ", ") + "."},
		},
	}
}
