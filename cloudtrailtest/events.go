package cloudtrailtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// Event is one event as LookupEvents returns it. A field that is empty is
// absent on the wire.
type Event struct {
	EventID, EventName, EventSource string
	Username, AccessKeyID           string
	ReadOnly                        string    // "true" or "false"; anything else goes out as it is
	EventTime                       time.Time // with milliseconds where it has some; where the event stands in the history
	Resources                       []Resource
	NullResources                   bool   // Resources is sent as null
	CloudTrailEvent                 string // the whole event's JSON text; sent as it is, also where it is no UTF-8

	// Raw, where it isn't empty, is sent in place of the event, for shapes that
	// the other fields can't give. Those still say when the event happened and
	// which filters it matches.
	Raw json.RawMessage
}

// Resource is a resource of an event. A nil list is absent on the wire, an
// empty one is sent as [], and so are a resource's empty fields absent.
type Resource struct{ Type, Name string }

// FromEvents returns a history of these events, sorted newest first. Where
// times are equal their order is kept.
func FromEvents(events []Event) History {
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b Event) int { return b.EventTime.Compare(a.EventTime) })
	return listed(sorted)
}

// listed is a history held in memory.
type listed []Event

func (l listed) Len() int             { return len(l) }
func (l listed) Time(i int) time.Time { return l[i].EventTime }
func (l listed) Event(i int) Event    { return l[i] }

// Retime returns the events newest first, in the order of their times, spread
// evenly over [from, to]: the newest at to, the oldest at from, all at whole
// seconds. What CloudTrailEvent says is left alone.
func Retime(events []Event, from, to time.Time) []Event {
	retimed := slices.Clone([]Event(FromEvents(events).(listed)))
	span := to.Sub(from)
	for i := range retimed {
		back := time.Duration(0)
		if i > 0 {
			back = time.Duration(float64(span) * float64(i) / float64(len(retimed)-1))
		}
		retimed[i].EventTime = time.Unix(to.Add(-back).Unix(), 0).UTC()
	}
	return retimed
}

// LoadEvents reads what `aws cloudtrail lookup-events --output json` prints.
// EventTime, which every event must have, is RFC 3339 with any offset or a
// number of seconds since 1970.
func LoadEvents(r io.Reader) ([]Event, error) {
	var file struct{ Events *[]wireEvent }
	decoder := json.NewDecoder(r)
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("cloudtrailtest: cannot read events: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("cloudtrailtest: cannot read events: something follows the first JSON value")
	}
	if file.Events == nil {
		return nil, errors.New(`cloudtrailtest: cannot read events: no "Events" list`)
	}
	events := make([]Event, len(*file.Events))
	for i, w := range *file.Events {
		at, err := parseEventTime(w.EventTime)
		if err != nil {
			return nil, fmt.Errorf("cloudtrailtest: event %d: EventTime: %w", i, err)
		}
		events[i] = Event{
			EventID: w.EventID, EventName: w.EventName, EventSource: w.EventSource,
			Username: w.Username, AccessKeyID: w.AccessKeyID, ReadOnly: w.ReadOnly,
			EventTime: at, CloudTrailEvent: w.CloudTrailEvent,
			NullResources: string(w.Resources) == "null",
		}
		if w.Resources == nil || events[i].NullResources {
			continue
		}
		var resources []struct{ ResourceType, ResourceName string }
		if err := json.Unmarshal(w.Resources, &resources); err != nil {
			return nil, fmt.Errorf("cloudtrailtest: event %d: Resources: %w", i, err)
		}
		events[i].Resources = make([]Resource, len(resources))
		for j, resource := range resources {
			events[i].Resources[j] = Resource{Type: resource.ResourceType, Name: resource.ResourceName}
		}
	}
	return events, nil
}

// wireEvent is an event in the file. Resources is kept as it is, since absent,
// null and empty are three things.
type wireEvent struct {
	EventID         string `json:"EventId"`
	AccessKeyID     string `json:"AccessKeyId"`
	EventName       string
	EventSource     string
	Username        string
	ReadOnly        string
	CloudTrailEvent string
	EventTime       json.RawMessage
	Resources       json.RawMessage
}

func parseEventTime(raw json.RawMessage) (time.Time, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil && text != "" {
		at, err := time.Parse(time.RFC3339, text)
		return at.UTC(), err
	}
	var number *json.Number
	if err := json.Unmarshal(raw, &number); err != nil || number == nil || text != "" {
		return time.Time{}, fmt.Errorf("want RFC 3339 or seconds since 1970, got %.40q", raw)
	}
	return parseEpoch(number)
}

// encodePage returns a page as LookupEvents sends it.
func encodePage(events []Event, token string) []byte {
	size := 64 + len(token)
	for _, e := range events {
		size += 512 + len(e.Raw) + len(e.CloudTrailEvent)*9/8
	}
	b := append(make([]byte, 0, size), `{"Events":[`...)
	for i, e := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEvent(b, e)
	}
	b = append(b, ']')
	if token != "" {
		b = appendString(append(b, `,"NextToken":`...), token)
	}
	return append(b, '}')
}

func appendEvent(b []byte, e Event) []byte {
	if len(e.Raw) > 0 {
		return append(b, e.Raw...)
	}
	b = append(b, '{')
	b = appendField(b, "AccessKeyId", e.AccessKeyID)
	b = appendField(b, "CloudTrailEvent", e.CloudTrailEvent)
	b = appendField(b, "EventId", e.EventID)
	b = appendField(b, "EventName", e.EventName)
	b = appendField(b, "EventSource", e.EventSource)
	b = appendField(b, "ReadOnly", e.ReadOnly)
	b = appendField(b, "Username", e.Username)
	switch {
	case e.NullResources:
		b = append(b, `"Resources":null,`...)
	case e.Resources != nil:
		b = append(b, `"Resources":[`...)
		for i, r := range e.Resources {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '{')
			b = appendField(b, "ResourceName", r.Name)
			b = appendField(b, "ResourceType", r.Type)
			b = append(trimComma(b), '}')
		}
		b = append(b, `],`...)
	}
	b = append(b, `"EventTime":`...)
	return append(appendEpoch(b, e.EventTime), '}')
}

// appendField appends a member and a comma, or nothing where value is empty.
func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(append(b, '"'), name...), `":`...)
	return append(appendString(b, value), ',')
}

func trimComma(b []byte) []byte {
	if b[len(b)-1] == ',' {
		return b[:len(b)-1]
	}
	return b
}

// appendEpoch appends seconds since 1970, with milliseconds where there are
// some.
func appendEpoch(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(b, ms/1000, 10)
	}
	return strconv.AppendFloat(b, float64(ms)/1000, 'f', 3, 64)
}

// appendString appends a JSON string. Unlike encoding/json it leaves alone
// what is no UTF-8, since an event may hold it.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}
