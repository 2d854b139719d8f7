package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// wide is from how many columns on there is room for everything.
const wide = 100

// erase removes the block from the terminal. The cursor is then where the block
// began.
func (m *monitor) erase() {
	if m.drawn > 0 {
		fmt.Fprint(m.out, "\r"+text.CursorUp.Sprintn(m.drawn)+"\x1b[J")
		m.drawn = 0
	}
}

// draw puts the block on the terminal, in place of the one that is there. All
// of it goes out in one write, so that it doesn't flicker.
func (m *monitor) draw() {
	width, height := m.size()
	lines := m.block(width-1, height-1)
	var b strings.Builder
	if m.drawn > 0 {
		b.WriteString("\r" + text.CursorUp.Sprintn(m.drawn))
	}
	for _, line := range lines {
		b.WriteString(line + text.EraseLine.Sprint() + "\n")
	}
	b.WriteString("\x1b[J") // the rest of a longer block before
	fmt.Fprint(m.out, b.String())
	m.drawn = len(lines)
}

// block returns the lines to show in so many columns and lines: one for each
// partition while there is room, and the sum.
func (m *monitor) block(width, height int) []string {
	now := time.Now()
	room := height - 2 // header and sum
	shown, hidden := m.parts, 0
	if len(shown) > room {
		shown, hidden = choose(m.parts, room-1)
	}
	cells := 10
	if width < wide {
		cells = 4
	}
	t := table.NewWriter()
	t.SetStyle(plainStyle)
	t.SetColumnConfigs([]table.ColumnConfig{
		{Name: "Records", Align: text.AlignRight, AlignHeader: text.AlignRight},
		{Name: "Req/s", Align: text.AlignRight, AlignHeader: text.AlignRight},
		{Name: "Throttled", Align: text.AlignRight, AlignHeader: text.AlignRight},
	})
	t.AppendHeader(table.Row{"Account and Region", "Read", "Records", "Req/s", "Throttled", ""})
	for _, p := range shown {
		rate := ""
		if !p.done {
			rate = fmt.Sprintf("%.1f/%d", p.rate(now), quota)
		}
		t.AppendRow(table.Row{p.name, bar(p.covered, cells), number(p.records), rate, number(p.throttles), p.remark()})
	}
	lines := strings.Split(t.Render(), "\n")
	if hidden > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more: read, not enabled, or waiting for their turn", hidden))
	}
	lines = append(lines, m.total(width < wide))
	for i, line := range lines {
		lines[i] = text.Trim(strings.TrimRight(line, " "), width)
	}
	return lines
}

// choose returns the n partitions that are most worth a line, in their order:
// those under way, then those that failed, then those that wait, then the rest.
func choose(parts []*part, n int) (shown []*part, hidden int) {
	rank := func(p *part) int {
		switch {
		case !p.done && !p.first.IsZero():
			return 0
		case p.done && p.covered < 1 && !p.disabled:
			return 1
		case !p.done:
			return 2
		}
		return 3
	}
	n = max(n, 0)
	taken := map[*part]bool{}
	for r := range 4 {
		for _, p := range parts {
			if rank(p) == r && len(taken) < n {
				taken[p] = true
			}
		}
	}
	for _, p := range parts {
		if taken[p] {
			shown = append(shown, p)
		}
	}
	return shown, len(parts) - len(shown)
}

func (p *part) remark() string {
	switch {
	case p.disabled:
		return "not enabled"
	case p.done && p.covered < 1 && p.trouble != "":
		return "✗ " + p.trouble
	case p.done && p.covered < 1:
		return "✗ not read"
	case p.done:
		return "✓"
	}
	return p.trouble
}

// bar draws a share, 0 to 1, in so many cells.
func bar(share float64, cells int) string {
	full := int(share*float64(cells) + 0.5)
	return strings.Repeat("█", full) + strings.Repeat("░", cells-full) + fmt.Sprintf(" %3.0f %%", 100*share)
}

// plainStyle has columns and no lines between them.
var plainStyle = func() table.Style {
	s := table.StyleDefault
	s.Name = "plain"
	s.Box.PaddingLeft, s.Box.PaddingRight = "", "  "
	s.Options = table.OptionsNoBordersAndSeparators
	s.Format.Header, s.Format.Footer = text.FormatDefault, text.FormatDefault
	return s
}()

// count writes how many there are of something.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return number(n) + " " + what
}

// number writes n with a comma every three digits.
func number(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// clock writes a duration as minutes and seconds.
func clock(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
