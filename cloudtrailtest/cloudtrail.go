package cloudtrailtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	jsonType     = "application/x-amz-json-1.1"
	lookupTarget = "CloudTrail_20131101.LookupEvents"
	maxResults   = 50
	retention    = 90 * 24 * time.Hour
)

// LookupInput are the parameters of a LookupEvents request. What was not sent
// is zero.
type LookupInput struct {
	StartTime, EndTime time.Time
	MaxResults         int
	NextToken          string
	EventCategory      string
	Attributes         []Attribute

	maxResults int // after defaults
}

// Attribute is a lookup attribute: a filter that CloudTrail applies.
type Attribute struct{ Key, Value string }

// serveCloudTrail answers an authenticated request to CloudTrail.
func (f *Fake) serveCloudTrail(r *http.Request, body []byte, who *session, regionName string) (answer, error) {
	ctx, now := r.Context(), time.Now()
	region := who.account.Region(regionName)
	f.stats.arrive()
	region.stats.arrive()
	defer func() {
		f.stats.leave(time.Since(now))
		region.stats.leave(time.Since(now))
	}()

	// SDKs other than Go's put a namespace in front of the target.
	if target := r.Header.Get("X-Amz-Target"); target != lookupTarget && !strings.HasSuffix(target, "."+lookupTarget) {
		return jsonError(apiError{http.StatusBadRequest, "UnknownOperationException", "unknown operation " + target}), nil
	}
	input, err := parseLookup(body)
	if err != nil {
		return jsonError(apiError{http.StatusBadRequest, "SerializationException", err.Error()}), nil
	}
	fault := f.faults.next(Call{Service: "cloudtrail", Action: "LookupEvents", AccountID: who.account.id, Region: regionName, Caller: who.arn, Input: input})

	throttle := fault.is(throttles)
	if !throttle {
		admitted := region.admit(now) // a fault uses quota like an answer
		throttle = !admitted && fault.is(none)
	}
	if throttle {
		f.stats.throttled()
		region.stats.throttled()
		return jsonError(rateExceeded), nil
	}
	if err := fault.wait(ctx, region.nextLatency()); err != nil {
		return answer{}, err
	}
	if a, ok := fault.instead(jsonError); ok {
		return a, nil
	}
	if message := region.deniedWith(); message != "" {
		return jsonError(apiError{http.StatusBadRequest, "AccessDeniedException", message}), nil
	}
	page, refused, err := region.lookup(ctx, input, now, fault)
	switch {
	case err != nil:
		return answer{}, err
	case refused != nil:
		return jsonError(*refused), nil
	}
	a := answer{status: http.StatusOK, contentType: jsonType, body: page}
	if fault.is(cuts) {
		a.end = cut
	}
	return a, nil
}

// lookup returns one page, as it goes over the wire.
func (r *Region) lookup(ctx context.Context, in LookupInput, now time.Time, fault *Fault) ([]byte, *apiError, error) {
	if refused := in.check(); refused != nil {
		return nil, refused, nil
	}
	binding := in.binding(r.account, r.name)
	at := newest
	if in.NextToken != "" {
		var ok bool
		if at, ok = parseNextToken(in.NextToken, binding); !ok {
			return nil, &invalidNextToken, nil
		}
	}
	if fault.is(emptiesPage) {
		return encodePage(nil, nextToken(at, binding)), nil, nil
	}

	query := query{
		from:   now.Add(-retention).UnixMilli(),
		to:     now.UnixMilli(),
		now:    now,
		after:  at,
		limit:  in.maxResults,
		filter: in.filter(),
	}
	if !in.StartTime.IsZero() {
		query.from = max(query.from, in.StartTime.UnixMilli())
	}
	if !in.EndTime.IsZero() {
		query.to = min(query.to, in.EndTime.UnixMilli())
	}
	if fault.is(repeatsLast) && at != newest {
		query.after.seq-- // positions lie behind their event: this is before it
	}
	if in.EventCategory == "insight" {
		query.limit = 0
	}
	events, last, more, err := r.timeline().page(ctx, query)
	if err != nil {
		return nil, nil, err
	}
	token := ""
	if more {
		token = nextToken(last, binding)
	}
	if fault.is(repeatsToken) && in.NextToken != "" {
		token = in.NextToken
	}
	return encodePage(events, token), nil, nil
}

// parseLookup reads the body of a LookupEvents request.
func parseLookup(body []byte) (LookupInput, error) {
	var wire struct {
		StartTime, EndTime       *json.Number
		MaxResults               *int
		NextToken, EventCategory string
		LookupAttributes         []struct{ AttributeKey, AttributeValue string }
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&wire); err != nil {
		return LookupInput{}, fmt.Errorf("cannot read the request: %w", err)
	}
	if decoder.More() {
		return LookupInput{}, fmt.Errorf("something follows the request's object")
	}
	in := LookupInput{NextToken: wire.NextToken, EventCategory: wire.EventCategory, maxResults: maxResults}
	var err error
	if in.StartTime, err = parseEpoch(wire.StartTime); err != nil {
		return LookupInput{}, fmt.Errorf("StartTime: %w", err)
	}
	if in.EndTime, err = parseEpoch(wire.EndTime); err != nil {
		return LookupInput{}, fmt.Errorf("EndTime: %w", err)
	}
	if wire.MaxResults != nil {
		in.MaxResults, in.maxResults = *wire.MaxResults, *wire.MaxResults
	}
	for _, a := range wire.LookupAttributes {
		in.Attributes = append(in.Attributes, Attribute{Key: a.AttributeKey, Value: a.AttributeValue})
	}
	return in, nil
}

// parseEpoch reads a time as awsJson writes it: seconds since 1970, with a
// fraction of which milliseconds count.
func parseEpoch(n *json.Number) (time.Time, error) {
	if n == nil {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || math.Abs(seconds) > 1e12 {
		return time.Time{}, fmt.Errorf("%q is not a number of seconds since 1970", n.String())
	}
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC(), nil
}

// check applies the limits of LookupEvents.
func (in LookupInput) check() *apiError {
	invalid := func(code, format string, args ...any) *apiError {
		return &apiError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
	}
	if in.maxResults < 1 || in.maxResults > maxResults {
		return invalid("InvalidMaxResultsException", "Max results %d is invalid: it must be between 1 and %d.", in.maxResults, maxResults)
	}
	if !in.StartTime.IsZero() && !in.EndTime.IsZero() && in.StartTime.After(in.EndTime) {
		return invalid("InvalidTimeRangeException", "Start time must be before or equal to end time.")
	}
	if len(in.Attributes) > 1 {
		return invalid("InvalidLookupAttributesException", "The LookupAttributes list may contain only one item.")
	}
	for _, a := range in.Attributes {
		if _, ok := attributeMatchers[a.Key]; !ok {
			return invalid("InvalidLookupAttributesException", "Lookup attribute key %q is not valid.", a.Key)
		}
		if a.Value == "" || len(a.Value) > 2000 {
			return invalid("InvalidLookupAttributesException", "Lookup attribute value must have 1 to 2000 characters.")
		}
	}
	if in.EventCategory != "" && in.EventCategory != "insight" {
		return invalid("InvalidEventCategoryException", "Event category %q is not valid.", in.EventCategory)
	}
	return nil
}

// attributeMatchers tell whether an event has an attribute, by its key.
var attributeMatchers = map[string]func(e Event, value string) bool{
	"EventId":     func(e Event, value string) bool { return e.EventID == value },
	"EventName":   func(e Event, value string) bool { return e.EventName == value },
	"EventSource": func(e Event, value string) bool { return e.EventSource == value },
	"ReadOnly":    func(e Event, value string) bool { return e.ReadOnly == value },
	"Username":    func(e Event, value string) bool { return e.Username == value },
	"AccessKeyId": func(e Event, value string) bool { return e.AccessKeyID == value },
	"ResourceType": func(e Event, value string) bool {
		return slices.ContainsFunc(e.Resources, func(r Resource) bool { return r.Type == value })
	},
	"ResourceName": func(e Event, value string) bool {
		return slices.ContainsFunc(e.Resources, func(r Resource) bool { return r.Name == value })
	},
}

// filter returns what an event must satisfy, nil where every one does.
func (in LookupInput) filter() func(Event) bool {
	if len(in.Attributes) == 0 {
		return nil
	}
	attribute := in.Attributes[0]
	matches := attributeMatchers[attribute.Key]
	return func(e Event) bool { return matches(e, attribute.Value) }
}
