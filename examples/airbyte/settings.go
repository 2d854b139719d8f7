package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
)

// specification says which settings there are. Their names are the keys of
// cloudtrail.ConfigFromSettings and cloudtrail.ParseOperationOptions, so that
// the same settings work in every host, and startDate.
//
//go:embed spec.json
var specification json.RawMessage

// settings is the configuration that the platform passes.
type settings struct {
	config cloudtrail.Config
	sync   cloudtrail.SyncOptions // Since: the start date, for a sync without state
}

// maxLookback is how many days CloudTrail keeps.
const maxLookback = 90

// loadSettings reads the file of --config. Its error names every bad setting
// and no value.
func loadSettings(file string) (settings, error) {
	var s settings
	values, err := readValues(file)
	if values == nil {
		return s, err
	}
	errs := []error{err}
	start := values["startDate"]
	delete(values, "startDate")
	options := map[string]string{}
	for _, key := range []string{"lookbackDays", "filter"} {
		options[key] = values[key]
		delete(values, key)
	}
	s.config, err = cloudtrail.ConfigFromSettings(values)
	errs = append(errs, err)
	s.sync, err = cloudtrail.ParseOperationOptions(options)
	errs = append(errs, err)
	if start != "" {
		t, err := parseDate(start)
		if err != nil {
			errs = append(errs, &cloudtrail.ConfigError{Field: "startDate", Reason: "must be a date, 2026-01-31, or an RFC 3339 time, and not in the future"})
		}
		s.sync.Since = cloudtrail.SinceTime(t)
		if s.sync.LookbackDays == 0 { // else the default of 7 days would be what counts
			s.sync.LookbackDays = maxLookback
		}
	}
	return s, errors.Join(errs...)
}

// readValues returns the configuration as the library takes it: text. A number
// or boolean stands as it was written, a list is joined by commas.
func readValues(file string) (map[string]string, error) {
	var raw map[string]any
	if err := readJSON(file, "config", &raw); err != nil {
		return nil, err
	}
	values := map[string]string{}
	var errs []error
	for key, v := range raw {
		items, isList := v.([]any)
		if !isList {
			items = []any{v}
		}
		var texts []string
		for _, item := range items {
			switch item := item.(type) {
			case nil: // not given
			case string:
				texts = append(texts, item)
			case json.Number, bool:
				texts = append(texts, fmt.Sprint(item))
			default:
				errs = append(errs, &cloudtrail.ConfigError{Field: key, Reason: "must be a text, a number or a list of texts"})
				texts = nil
			}
		}
		values[key] = strings.Join(texts, ",")
	}
	return values, errors.Join(errs...)
}

func parseDate(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = time.Parse(time.DateOnly, s)
	}
	if err == nil && t.After(time.Now()) {
		err = errors.New("in the future")
	}
	return t, err
}

// readJSON reads a file of the command line into v. The error doesn't quote
// the file, which may hold secrets.
func readJSON(file, name string, v any) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.UseNumber()
	err = d.Decode(v)
	if _, end := d.Token(); err == nil && end != io.EOF {
		err = errors.New("more follows")
	}
	if err != nil {
		if errors.Is(err, cloudtrail.ErrInvalidToken) {
			return err
		}
		return &cloudtrail.ConfigError{Field: name, Reason: "the file is not the JSON that the protocol asks for"}
	}
	return nil
}
