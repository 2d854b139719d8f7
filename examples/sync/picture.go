package main

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The picture is 1728 by 972 dots: sharp on a 13-inch screen, whole on it.
const (
	pictureWidth  = 12 * vg.Inch
	pictureHeight = 6.75 * vg.Inch
	pictureDPI    = 144
)

var (
	ink   = color.Gray{60}
	faint = color.Gray{225}
)

// draw writes the picture, as ".png" or ".svg": writing events above, read-only
// ones below, on one time axis, and the legend beside them. Each has its own
// scale, for there are many more of the second kind and the first matter more.
func (h histogram) draw(w io.Writer, format string) error {
	var canvas interface {
		vg.CanvasSizer
		io.WriterTo
	}
	if format == ".svg" {
		canvas = vgsvg.NewWith(vgsvg.UseWH(pictureWidth, pictureHeight), vgsvg.EmbedFonts(true))
	} else {
		canvas = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(pictureWidth, pictureHeight), vgimg.UseDPI(pictureDPI))}
	}
	page := draw.New(canvas)
	page.SetColor(color.White)
	page.Fill(page.Rectangle.Path())
	page = draw.Crop(page, 0.2*vg.Inch, -0.25*vg.Inch, 0.15*vg.Inch, -0.2*vg.Inch)

	per := "hour"
	if h.width > time.Hour {
		per = fmt.Sprintf("%.0f hours", h.width.Hours())
	}
	writing, readOnly := 0, 0
	for _, s := range h.series {
		writing, readOnly = writing+sum(s.writing), readOnly+sum(s.readOnly)
	}
	page.FillText(style(16, ink, text.XLeft, text.YTop), vg.Point{X: page.Min.X, Y: page.Max.Y}, "CloudTrail events per "+per+", by "+h.by)
	page.FillText(style(11, ink, text.XLeft, text.YTop), vg.Point{X: page.Min.X, Y: page.Max.Y - 24},
		fmt.Sprintf("%s to %s UTC: %s writing, %s read-only", h.start.Format("2 Jan 2006 15:04"), h.end.Format("2 Jan 2006 15:04"), number(writing), number(readOnly)))
	body := draw.Crop(page, 0, 0, 0, -0.6*vg.Inch)

	legend := plot.NewLegend()
	legend.TextStyle = style(11, ink, text.XLeft, text.YBottom)
	legend.Left, legend.Top, legend.Padding, legend.ThumbnailWidth = true, true, 5, 14
	widest := vg.Length(0)
	for i := range h.series { // in the order of the stack, the top first
		s := h.series[len(h.series)-1-i]
		name := fmt.Sprintf("%s: %s", s.name, number(sum(s.writing)+sum(s.readOnly)))
		legend.Add(name, swatch{s.colour})
		widest = max(widest, legend.TextStyle.Width(name))
	}
	side := widest + 0.45*vg.Inch
	legend.Draw(draw.Crop(body, body.Max.X-body.Min.X-side+0.15*vg.Inch, 0, 0, 0))
	body = draw.Crop(body, 0, -side, 0, 0)

	panels := [][]*plot.Plot{
		{h.panel(false, func(s series) []int { return s.writing })},
		{h.panel(true, func(s series) []int { return s.readOnly })},
	}
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadY: 0.15 * vg.Inch}
	heading := style(12, ink, text.XLeft, text.YTop)
	rows := plot.Align(panels, tiles, body)
	for i, name := range []string{"Writing events", "Read-only events"} {
		tile := rows[i][0]
		tile.FillText(heading, vg.Point{X: body.Min.X, Y: tile.Max.Y}, name)
		panels[i][0].Draw(draw.Crop(tile, 0, 0, 0, -0.28*vg.Inch))
	}
	_, err := canvas.WriteTo(w)
	return err
}

// panel is one of the two histograms.
func (h histogram) panel(labels bool, values func(series) []int) *plot.Plot {
	p := plot.New()
	p.X.Min, p.X.Max = 0, float64(h.n)
	p.X.Tick.Marker = timeTicks{h, labels}
	p.X.Tick.Label = style(11, ink, text.XCenter, text.YTop)
	p.X.Padding, p.Y.Padding = 0, 0
	p.Y.Tick.Label = style(11, ink, text.XRight, text.YCenter)
	p.Y.Tick.Length = 0
	p.Y.LineStyle.Width = 0

	stacks := bars{sums: [][]int{make([]int, h.n)}}
	peak := 0
	for _, s := range h.series {
		below := stacks.sums[len(stacks.sums)-1]
		top := make([]int, h.n)
		for i, n := range values(s) {
			top[i] = below[i] + n
			peak = max(peak, top[i])
		}
		stacks.sums, stacks.colours = append(stacks.sums, top), append(stacks.colours, s.colour)
	}
	step := niceStep(peak)
	p.Y.Min, p.Y.Max = 0, float64(max(1, (peak+step-1)/step)*step)
	p.Y.Tick.Marker = countTicks{step}
	p.Add(rules{}, stacks)
	return p
}

// bars draws stacked columns that touch: sums[i] is the lower edge of series i,
// sums[i+1] its upper edge.
type bars struct {
	sums    [][]int
	colours []color.Color
}

func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, colour := range b.colours {
		c.SetColor(colour)
		for k, top := range b.sums[i+1] {
			if low := b.sums[i][k]; low < top {
				left, right := x(float64(k)), x(float64(k+1))
				if right-left > 4 {
					right -= 0.5 // a hair between wide columns
				}
				c.Fill(vg.Rectangle{Min: vg.Point{X: left, Y: y(float64(low))}, Max: vg.Point{X: right, Y: y(float64(top))}}.Path())
			}
		}
	}
}

// rules draws a thin line at each labelled tick.
type rules struct{}

func (rules) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	line := draw.LineStyle{Color: faint, Width: 0.6}
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		c.StrokeLine2(line, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
	}
	for _, t := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
		c.StrokeLine2(line, x(t.Value), c.Min.Y, x(t.Value), c.Max.Y)
	}
}

// countTicks are whole numbers.
type countTicks struct{ step int }

func (t countTicks) Ticks(_, top float64) (ticks []plot.Tick) {
	for n := 0; n <= int(top); n += t.step {
		ticks = append(ticks, plot.Tick{Value: float64(n), Label: number(n)})
	}
	return ticks
}

// niceStep returns 1, 2, 2.5 or 5 times a power of ten, so that there are about five
// steps up to peak.
func niceStep(peak int) int {
	raw := float64(peak) / 5
	if raw <= 1 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 2.5, 5} {
		if step := f * power; step >= raw && step == math.Trunc(step) {
			return int(step)
		}
	}
	return int(10 * power)
}

// timeTicks are at full days, or at full hours where there are few, in UTC.
type timeTicks struct {
	h      histogram
	labels bool
}

func (t timeTicks) Ticks(_, _ float64) (ticks []plot.Tick) {
	const day = 24 * time.Hour
	span := time.Duration(t.h.n) * t.h.width
	step, layout := time.Hour, "15:04"
	switch {
	case span > 60*day:
		step, layout = 7*day, "2 Jan"
	case span > 21*day:
		step, layout = 3*day, "2 Jan"
	case span > 10*day:
		step, layout = day, "2 Jan"
	case span > 2*day:
		step, layout = day, "Mon 2 Jan"
	case span > 12*time.Hour:
		step = 3 * time.Hour
	}
	end := t.h.start.Add(span)
	for at := t.h.start.Truncate(step); !at.After(end); at = at.Add(step) {
		if at.Before(t.h.start) {
			continue
		}
		label := ""
		if t.labels {
			label = at.Format(layout)
			if step < day && at.Equal(at.Truncate(day)) {
				label = at.Format("Mon 2 Jan")
			}
		}
		ticks = append(ticks, plot.Tick{Value: float64(at.Sub(t.h.start)) / float64(t.h.width), Label: label})
	}
	return ticks
}

// swatch is a colour in the legend.
type swatch struct{ colour color.Color }

func (s swatch) Thumbnail(c *draw.Canvas) {
	c.SetColor(s.colour)
	c.Fill(c.Rectangle.Path())
}

func style(size vg.Length, c color.Color, x text.XAlignment, y text.YAlignment) text.Style {
	f := plot.DefaultFont
	f.Variant = "Sans"
	return text.Style{Color: c, Font: font.From(f, size), XAlign: x, YAlign: y, Handler: plot.DefaultTextHandler}
}

func sum(counts []int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
