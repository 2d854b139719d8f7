package cloudtrail

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseOperationOptions(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		options map[string]string
		want    SyncOptions
	}{
		"nothing":           {nil, SyncOptions{}},
		"empty":             {map[string]string{"lookbackDays": " ", "since": "", "filter": ""}, SyncOptions{}},
		"fraction":          {map[string]string{"lookbackDays": " 0.5 "}, SyncOptions{LookbackDays: 0.5}},
		"over 90":           {map[string]string{"lookbackDays": "400"}, SyncOptions{LookbackDays: 400}},
		"time":              {map[string]string{"since": "2026-03-01T12:00:00Z"}, SyncOptions{Since: SinceTime(at)}},
		"milliseconds":      {map[string]string{"since": "1772366400000"}, SyncOptions{Since: SinceTime(at)}},
		"filter":            {map[string]string{"filter": "ReadOnly=false"}, SyncOptions{Filter: Filter{"ReadOnly", "false"}}},
		"filter with equal": {map[string]string{"filter": "ResourceName = a=b"}, SyncOptions{Filter: Filter{"ResourceName", "a=b"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseOperationOptions(tt.options)
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestBadOperationOptions(t *testing.T) {
	tests := map[string]struct {
		options map[string]string
		want    []string
		says    string
	}{
		"zero":             {map[string]string{"lookbackDays": "0"}, []string{"lookbackDays"}, "above 0"},
		"negative":         {map[string]string{"lookbackDays": "-1"}, []string{"lookbackDays"}, ""},
		"NaN":              {map[string]string{"lookbackDays": "NaN"}, []string{"lookbackDays"}, ""},
		"infinite":         {map[string]string{"lookbackDays": "+Inf"}, []string{"lookbackDays"}, ""},
		"too large":        {map[string]string{"lookbackDays": "1e999"}, []string{"lookbackDays"}, ""},
		"words":            {map[string]string{"lookbackDays": "7 days"}, []string{"lookbackDays"}, ""},
		"since":            {map[string]string{"since": "yesterday"}, []string{"since"}, ""},
		"filter":           {map[string]string{"filter": "ReadOnly"}, []string{"filter"}, "Key=Value"},
		"no filter key":    {map[string]string{"filter": "=x"}, []string{"filter"}, "no key"},
		"no filter value":  {map[string]string{"filter": "Username="}, []string{"filter"}, "no value"},
		"read-only maybe":  {map[string]string{"filter": "ReadOnly=maybe"}, []string{"filter"}, "true"},
		"filter key case":  {map[string]string{"filter": "readOnly=false"}, []string{"filter"}, `write "ReadOnly"`},
		"filter key slip":  {map[string]string{"filter": "UserNames=x"}, []string{"filter"}, `mean "Username"`},
		"other filter key": {map[string]string{"filter": "Region=x"}, []string{"filter"}, "EventSource"},
		"long filter":      {map[string]string{"filter": "Username=" + strings.Repeat("x", 2001)}, []string{"filter"}, "2000"},
		"case":             {map[string]string{"lookbackdays": "7"}, []string{"lookbackdays"}, `write "lookbackDays"`},
		"unknown":          {map[string]string{"until": "7"}, []string{"until"}, "known are lookbackDays, since, filter"},
		"all of them":      {map[string]string{"x": "", "since": "x", "filter": "x", "lookbackDays": "x"}, []string{"filter", "lookbackDays", "since", "x"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseOperationOptions(tt.options)
			assert.Equal(t, tt.want, fields(t, err))
			assert.ErrorContains(t, err, tt.says)
			assert.Equal(t, SyncOptions{}, got)
		})
	}
	_, err := ParseOperationOptions(map[string]string{"since": "yesterday"})
	assert.ErrorIs(t, err, ErrInvalidToken)
	_, err = ParseOperationOptions(map[string]string{"filter": "x"})
	assert.NotErrorIs(t, err, ErrInvalidToken)
}

func TestSyncOptionsValidate(t *testing.T) {
	for name, tt := range map[string]struct {
		o    SyncOptions
		want []string
	}{
		"zero":     {SyncOptions{}, nil},
		"days":     {SyncOptions{LookbackDays: 0.001}, nil},
		"negative": {SyncOptions{LookbackDays: -1}, []string{"LookbackDays"}},
		"NaN":      {SyncOptions{LookbackDays: math.NaN()}, []string{"LookbackDays"}},
		"infinite": {SyncOptions{LookbackDays: math.Inf(1)}, []string{"LookbackDays"}},
		"filter":   {SyncOptions{LookbackDays: -1, Filter: Filter{Key: "x", Value: "y"}}, []string{"LookbackDays", "Filter"}},
		"no key":   {SyncOptions{Filter: Filter{Value: "y"}}, []string{"Filter"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.want, fields(t, tt.o.validate()))
		})
	}
}

func TestFilterString(t *testing.T) {
	assert.Equal(t, "", Filter{}.String())
	assert.Equal(t, "Username=a=b", Filter{"Username", "a=b"}.String())
}

func TestLookupRate(t *testing.T) {
	stub := WithClient(func(Partition) LookupEventsAPIClient { return nil })
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(-1)} {
		_, err := New(context.Background(), Config{DefaultRegion: "us-east-1"}, stub, WithLookupRate(rate))
		assert.Equal(t, []string{"LookupRate"}, fields(t, err), "%v", rate)
	}
	for _, rate := range []float64{0.01, 2, math.Inf(1)} {
		c, err := New(context.Background(), Config{DefaultRegion: "us-east-1"}, stub, nil, WithLookupRate(rate))
		require.NoError(t, err)
		assert.Equal(t, rate, c.opts.rate)
	}
	c, err := New(context.Background(), Config{DefaultRegion: "us-east-1"}, stub)
	require.NoError(t, err)
	assert.Equal(t, 2.0, c.opts.rate)
}

func TestDistance(t *testing.T) {
	assert.Equal(t, 0, distance("abc", "abc"))
	assert.Equal(t, 3, distance("", "abc"))
	assert.Equal(t, 3, distance("kitten", "sitting"))
}

func FuzzParseOperationOptions(f *testing.F) {
	f.Add("lookbackDays", "0.5")
	f.Add("since", "2026-03-01T12:00:00Z")
	f.Add("filter", "ReadOnly=false")
	f.Add("Filter", "x")
	f.Fuzz(func(t *testing.T, k, v string) {
		o, err := ParseOperationOptions(map[string]string{k: v})
		if err != nil {
			fields(t, err)
			return
		}
		if err := o.validate(); err != nil {
			t.Fatalf("%q=%q is accepted, but %v", k, v, err)
		}
	})
}
