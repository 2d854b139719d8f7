package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/cloudtrail-connector/cloudtrail"
)

// streamName is the one stream of this source.
const streamName = "cloudtrail_events"

// The ways to read it.
const (
	incremental = "incremental"
	fullRefresh = "full_refresh"
)

// streams is an AirbyteCatalog.
type streams struct {
	Streams []stream `json:"streams"`
}

type stream struct {
	Name                string         `json:"name"`
	JSONSchema          map[string]any `json:"json_schema"`
	SyncModes           []string       `json:"supported_sync_modes"`
	SourceDefinedCursor bool           `json:"source_defined_cursor"`
	CursorField         []string       `json:"default_cursor_field"`
	PrimaryKey          [][]string     `json:"source_defined_primary_key"`
	Resumable           bool           `json:"is_resumable"`
}

// catalog describes the stream by what the library says of its records: the
// properties are the attributes. The cursor is EVENT_TIME, but the source's
// own: a late event keeps its old time, so what was read is told by the token
// in the state and not by the greatest value. Its overlap comes again, with
// the same UID.
func catalog() *streams {
	properties := map[string]any{}
	for _, a := range cloudtrail.Describe().Attributes {
		properties[a.Name] = property(a)
	}
	return &streams{[]stream{{
		Name: streamName,
		JSONSchema: map[string]any{
			"$schema":              "http://json-schema.org/draft-07/schema#",
			"type":                 "object",
			"additionalProperties": true, // attributes that a later version adds
			"properties":           properties,
		},
		SyncModes:           []string{fullRefresh, incremental},
		SourceDefinedCursor: true,
		CursorField:         []string{"EVENT_TIME"},
		PrimaryKey:          [][]string{{"UID"}},
		Resumable:           true,
	}}}
}

// property is an attribute's JSON schema in the types that Airbyte knows. Any
// attribute may be absent, but for the key.
func property(a cloudtrail.AttributeSchema) map[string]any {
	p := map[string]any{"description": a.Source}
	kind := a.Type
	switch a.Type {
	case "timestamp":
		kind, p["format"], p["airbyte_type"] = "string", "date-time", "timestamp_with_timezone"
	case "array":
		text := map[string]any{"type": []string{"null", "string"}}
		p["items"] = map[string]any{
			"type":       "object",
			"properties": map[string]any{"resourceType": text, "resourceName": text},
		}
	}
	p["type"] = []string{"null", kind}
	if a.Name == "UID" {
		p["type"] = kind
	}
	return p
}

// configuredStream is an element of the ConfiguredAirbyteCatalog.
type configuredStream struct {
	Stream   streamDescriptor `json:"stream"`
	SyncMode string           `json:"sync_mode"`
}

// loadCatalog returns how the stream is to be read, "" if it isn't, and the
// streams that this source doesn't have.
func loadCatalog(file string) (mode string, unknown []streamDescriptor, err error) {
	var c struct {
		Streams []configuredStream `json:"streams"`
	}
	if err := readJSON(file, "catalog", &c); err != nil {
		return "", nil, err
	}
	for _, s := range c.Streams {
		if s.Stream != (streamDescriptor{Name: streamName}) {
			unknown = append(unknown, s.Stream)
			continue
		}
		if !slices.Contains(catalog().Streams[0].SyncModes, s.SyncMode) {
			return "", nil, &cloudtrail.ConfigError{Field: "catalog", Reason: fmt.Sprintf("stream %s has no sync mode %q", streamName, s.SyncMode)}
		}
		mode = s.SyncMode
	}
	return mode, unknown, nil
}

// stateMessage is an AirbyteStateMessage of type STREAM.
type stateMessage struct {
	Type        string       `json:"type"`
	Stream      *namedState  `json:"stream,omitempty"`
	SourceStats *sourceStats `json:"sourceStats,omitempty"`
}

type namedState struct {
	Descriptor streamDescriptor `json:"stream_descriptor"`
	State      *streamState     `json:"stream_state,omitempty"`
}

type sourceStats struct {
	RecordCount recordCount `json:"recordCount"`
}

// streamState is what the next read goes on from. The token knows every
// account and Region and what each still owes.
type streamState struct {
	Token    cloudtrail.SyncToken `json:"token"`
	SyncMode string               `json:"sync_mode"`
	Complete bool                 `json:"complete"` // the last state of a read that missed nothing
}

// since returns where a read of that mode starts. A full refresh reads
// everything again, unless the state is of a full refresh that was cut short:
// the platform then runs it again to have it ended.
func (s streamState) since(mode string) cloudtrail.SyncToken {
	if mode == fullRefresh && (s.SyncMode != fullRefresh || s.Complete) {
		return cloudtrail.SyncToken{}
	}
	return s.Token
}

// loadState returns the stream's state from the file of --state, the zero
// state if there is none. It takes the platform's list, a single state
// message, and a line of this source's output.
func loadState(file string) (streamState, error) {
	var state streamState
	if file == "" {
		return state, nil
	}
	var raw json.RawMessage
	if err := readJSON(file, "state", &raw); err != nil {
		return state, err
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	type streamStates struct {
		Stream *namedState `json:"stream"`
	}
	for _, raw := range list {
		var m struct {
			streamStates
			State streamStates `json:"state"` // of a whole line
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			if errors.Is(err, cloudtrail.ErrInvalidToken) {
				return state, err
			}
			return state, &cloudtrail.ConfigError{Field: "state", Reason: "is not what this source wrote"}
		}
		for _, s := range []*namedState{m.Stream, m.State.Stream} {
			if s == nil || s.Descriptor != (streamDescriptor{Name: streamName}) {
				continue
			}
			state = streamState{}
			if s.State != nil { // else the platform wants it forgotten
				state = *s.State
			}
		}
	}
	return state, nil
}
