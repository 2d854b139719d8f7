package cloudtrail

import "time"

// CloudResource is one CloudTrail event as a Cloud Resource record. Its JSON
// keys are the attribute names; what the event doesn't have is left out.
type CloudResource struct {
	UID           string     `json:"UID,omitempty"`
	Name          string     `json:"NAME,omitempty"`
	EventID       string     `json:"EVENT_ID,omitempty"`
	EventName     string     `json:"EVENT_NAME,omitempty"`
	EventSource   string     `json:"EVENT_SOURCE,omitempty"`
	EventTime     time.Time  `json:"EVENT_TIME,omitzero"`
	ReadOnly      *bool      `json:"READ_ONLY,omitempty"`
	AccessKeyID   string     `json:"ACCESS_KEY_ID,omitempty"`
	Username      string     `json:"USERNAME,omitempty"`
	Resources     []Resource `json:"RESOURCES,omitempty"`
	CloudProvider string     `json:"CLOUD_PROVIDER,omitempty"`
	Region        string     `json:"REGION,omitempty"`
	LastCaptured  time.Time  `json:"LAST_CAPTURED,omitzero"`
	Raw           string     `json:"RAW,omitempty"` // CloudTrailEvent, only with WithRawEvents
}

// Resource is one resource that an event names.
type Resource struct {
	Type string `json:"resourceType,omitempty"`
	Name string `json:"resourceName,omitempty"`
}

// Attributes returns the record by attribute name: string, time.Time, bool,
// []Resource. Absent ones are left out.
func (r CloudResource) Attributes() map[string]any { panic("not yet") }

// ObjectSchema describes the records of a sync and the options it takes.
type ObjectSchema struct {
	Object, Model string // "CloudTrailEvent", "Cloud Resource"
	Attributes    []AttributeSchema
	Options       []OptionSchema
}

// AttributeSchema describes one attribute: "READ_ONLY", "Event.readOnly", "boolean".
type AttributeSchema struct{ Name, Source, Type string }

// OptionSchema describes one operation option.
type OptionSchema struct{ Key, Type, Default, Description string }

// Describe returns the schema of the records, for hosts that ask what comes.
func Describe() ObjectSchema { panic("not yet") }
