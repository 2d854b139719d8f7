package main

import (
	"cmp"
	"image/color"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
)

// activity counts events by hour, for a picture.
type activity struct {
	counts map[cell]int
}

// cell is what is counted together.
type cell struct {
	partition cloudtrail.Partition
	writing   bool  // or not said, which is rare
	hour      int64 // since 1970
}

func newActivity() *activity { return &activity{counts: map[cell]int{}} }

func (a *activity) add(page cloudtrail.Page) {
	for _, r := range page.Records {
		if r.EventTime.IsZero() {
			continue
		}
		readOnly := r.ReadOnly != nil && *r.ReadOnly
		a.counts[cell{page.Partition, !readOnly, r.EventTime.Unix() / 3600}]++
	}
}

// histogram is what one picture shows.
type histogram struct {
	by     string // what a series is: "Region" or "account"
	start  time.Time
	width  time.Duration // of a bucket
	n      int           // buckets
	end    time.Time     // the last bucket's, or earlier
	series []series      // from the bottom of the stack to its top: the busiest first
}

type series struct {
	name              string
	colour            color.Color
	writing, readOnly []int // by bucket
}

// most is how many series can be told apart by colour; the rest is one more.
const most = 7

// histogram sums up what was counted between these times. Events outside them
// widen it.
func (a *activity) histogram(from, to time.Time) histogram {
	accounts, regions := map[string]bool{}, map[string]bool{}
	first, last := from.Unix()/3600, to.Unix()/3600
	for c := range a.counts {
		accounts[c.partition.AccountID], regions[c.partition.Region] = true, true
		first, last = min(first, c.hour), max(last, c.hour)
	}
	h := histogram{by: "Region", width: time.Hour}
	name := func(p cloudtrail.Partition) string { return p.Region }
	if len(accounts) > 1 {
		h.by = "account"
		name = func(p cloudtrail.Partition) string { return cmp.Or(p.AccountID, "unknown") }
	}
	if last-first >= 14*24 { // hours would be thinner than a pixel
		h.width = 6 * time.Hour
	}
	per := int64(h.width / time.Hour)
	first -= first % per
	h.start = time.Unix(first*3600, 0).UTC()
	h.n = int((last-first)/per) + 1
	h.end = h.start.Add(time.Duration(h.n) * h.width)
	if last == to.Unix()/3600 {
		h.end = to.UTC()
	}

	total := map[string]int{}
	for c, n := range a.counts {
		total[name(c.partition)] += n
	}
	names := slices.SortedFunc(maps.Keys(total), func(a, b string) int {
		return cmp.Or(total[b]-total[a], strings.Compare(a, b))
	})
	index := map[string]int{}
	for i, name := range names {
		if i = min(i, most); i == len(h.series) {
			h.series = append(h.series, series{name, palette[i], make([]int, h.n), make([]int, h.n)})
		}
		index[name] = i
	}
	if len(names) > most+1 {
		h.series[most].name = "others"
	}
	for c, n := range a.counts {
		s, bucket := h.series[index[name(c.partition)]], (c.hour-first)/per
		if c.writing {
			s.writing[bucket] += n
		} else {
			s.readOnly[bucket] += n
		}
	}
	return h
}

// save draws the picture into a file.
func (a *activity) save(file string, o cloudtrail.SyncOptions, now time.Time) error {
	from := now
	if o.Since.IsZero() {
		days := min(cmp.Or(o.LookbackDays, 7), 90)
		from = now.Add(-time.Duration(days * 24 * float64(time.Hour)))
	}
	h := a.histogram(from, now)
	return replaceFile(file, func(w io.Writer) error {
		return h.draw(w, strings.ToLower(filepath.Ext(file)))
	})
}

// The colours of Okabe and Ito, which most people can tell apart; grey for the
// rest.
var palette = [most + 1]color.Color{
	color.RGBA{0, 114, 178, 255},
	color.RGBA{230, 159, 0, 255},
	color.RGBA{0, 158, 115, 255},
	color.RGBA{204, 121, 167, 255},
	color.RGBA{86, 180, 233, 255},
	color.RGBA{213, 94, 0, 255},
	color.RGBA{240, 228, 66, 255},
	color.RGBA{150, 150, 150, 255},
}
