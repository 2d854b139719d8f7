package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Forty partitions fit any terminal, and what matters is among what is shown.
func TestBlock(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {120, 50}, {40, 10}, {200, 5}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			m := newMonitor(io.Discard, io.Discard, settings{})
			m.quiet = true // no goroutine: the test draws
			var parts []cloudtrail.Partition
			for i := range 40 {
				parts = append(parts, cloudtrail.Partition{AccountID: fmt.Sprintf("%012d", i), Region: "ap-southeast-2"})
			}
			m.start(parts)
			for _, p := range parts[:30] {
				m.request(cloudtrail.RequestInfo{Partition: p})
				m.progress(cloudtrail.Progress{Partition: p, Covered: 1, Records: 1234567, Done: true})
			}
			busy, broken := parts[35], parts[38]
			m.request(cloudtrail.RequestInfo{Partition: busy, Err: &smithy.GenericAPIError{Code: "ThrottlingException"}})
			m.progress(cloudtrail.Progress{Partition: busy, Covered: 0.5, Records: 50})
			m.request(cloudtrail.RequestInfo{Partition: broken, Err: &smithy.GenericAPIError{Code: "AccessDeniedException"}})
			m.progress(cloudtrail.Progress{Partition: broken, Done: true})

			lines := m.block(size[0]-1, size[1]-1)
			all := strings.Join(lines, "\n")
			assert.Less(t, len(lines), size[1])
			for _, line := range lines {
				assert.Less(t, text.RuneWidthWithoutEscSequences(line), size[0], line)
			}
			if size[1] > 5 {
				assert.Contains(t, all, busy.AccountID)
				assert.Contains(t, all, broken.AccountID)
			}
			if size[0] >= 80 && size[1] > 5 {
				assert.Regexp(t, `0/2 +1`, all, "rate and throttles")
				assert.Contains(t, all, "30 of 40 read, 1 failed")
				assert.Contains(t, all, "✗ Access")
			}
			m.stop()
		})
	}
}

func TestFold(t *testing.T) {
	assert.Equal(t, "one two\n  three\n  four\n", fold("one two\n  three four\n", 9))
	token := "  -since ct1.abcdefghijklmnopqrstuvwxyz"
	assert.Equal(t, token, fold(token, 20))
	assert.Equal(t, "one two three", fold("one two three", 0))
}

// What failed in the same way is said once.
func TestFailuresAlike(t *testing.T) {
	var errs []error
	for i := range 40 {
		errs = append(errs, &cloudtrail.PartitionError{Partition: cloudtrail.Partition{AccountID: fmt.Sprintf("%012d", i), Region: "us-east-1"}, Op: "LookupEvents", Err: &smithy.GenericAPIError{Code: "AccessDeniedException", Message: fmt.Sprint("no ", i)}, Hint: "allow it"})
	}
	said := explain(errors.Join(errs...))
	assert.Equal(t, 1, strings.Count(said, "Allow it."))
	assert.Contains(t, said, "000000000005/us-east-1 and 34 more")
}

// counted returns what was counted of three Regions of one account.
func counted(start time.Time, accounts ...string) *activity {
	yes, no := true, false
	a := newActivity()
	for i, region := range []string{"us-east-1", "eu-west-1", "sa-east-1"} {
		for _, account := range accounts {
			page := cloudtrail.Page{Partition: cloudtrail.Partition{AccountID: account, Region: region}}
			for hour := range 48 {
				at := start.Add(time.Duration(hour)*time.Hour + 59*time.Minute)
				page.Records = append(page.Records, cloudtrail.CloudResource{EventTime: at, ReadOnly: &no})
				for range 3 - i {
					page.Records = append(page.Records, cloudtrail.CloudResource{EventTime: at, ReadOnly: &yes})
				}
			}
			page.Records = append(page.Records, cloudtrail.CloudResource{}, cloudtrail.CloudResource{EventTime: start})
			a.add(page)
		}
	}
	return a
}

func TestHistogram(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	a := counted(start, "111122223333")
	h := a.histogram(start.Add(90*time.Minute), start.Add(50*time.Hour))
	assert.Equal(t, "Region", h.by)
	assert.Equal(t, start, h.start, "events before the window widen it")
	assert.Equal(t, 51, h.n)
	require.Len(t, h.series, 3)
	assert.Equal(t, []string{"us-east-1", "eu-west-1", "sa-east-1"}, []string{h.series[0].name, h.series[1].name, h.series[2].name}, "the busiest at the bottom")
	assert.Equal(t, []int{2, 1, 1}, h.series[0].writing[:3], "whoever doesn't say may have written")
	assert.Equal(t, []int{3, 3, 3}, h.series[0].readOnly[:3])
	assert.Equal(t, []int{0, 0, 0}, h.series[0].readOnly[48:])
	assert.Equal(t, 49, sum(h.series[2].writing))
	assert.Equal(t, 48, sum(h.series[2].readOnly))

	h = counted(start, "111122223333", "222233334444").histogram(start, start.Add(30*24*time.Hour))
	assert.Equal(t, "account", h.by)
	assert.Equal(t, 6*time.Hour, h.width)
	assert.Equal(t, 6*3+6*2+6*1, h.series[0].readOnly[0])

	var many []string
	for i := range 12 {
		many = append(many, fmt.Sprintf("%012d", i))
	}
	h = counted(start, many...).histogram(start, start.Add(48*time.Hour))
	require.Len(t, h.series, most+1)
	assert.Equal(t, "others", h.series[most].name)
	assert.Equal(t, 5*48*6, sum(h.series[most].readOnly))
}

func TestPicture(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	h := counted(start, "111122223333").histogram(start, start.Add(48*time.Hour))
	var file bytes.Buffer
	require.NoError(t, h.draw(&file, ".png"))
	picture, err := png.Decode(&file)
	require.NoError(t, err)
	assert.Equal(t, []int{1728, 972}, []int{picture.Bounds().Dx(), picture.Bounds().Dy()})
	dots := map[color.RGBA]int{}
	for y := range 972 {
		for x := range 1728 {
			dots[color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA)]++
		}
	}
	for i, s := range h.series {
		assert.Greater(t, dots[palette[i].(color.RGBA)], 10_000, s.name)
	}

	file.Reset()
	require.NoError(t, h.draw(&file, ".svg"))
	svg := file.String()
	for _, words := range []string{"CloudTrail events per hour, by Region", "Writing events", "Read-only events", "eu-west-1: 145", "Sun 1 Mar"} {
		assert.Contains(t, svg, words)
	}
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
}
