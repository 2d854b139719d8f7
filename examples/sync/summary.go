package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// summary is what is said when a sync is over.
type summary struct {
	settings settings
	result   cloudtrail.SyncResult
	err      error // of Sync
	took     time.Duration
	store    *store
	also     []error // what failed besides
}

func (s *summary) failed(err error) {
	if err != nil {
		s.also = append(s.also, err)
	}
}

// print says what was done and how to go on. It returns nil if all is well.
func (s *summary) print(ctx context.Context, w io.Writer, width int) error {
	if s.err != nil && len(s.result.Partitions) == 0 && ctx.Err() == nil {
		return s.err // the options were refused; nothing was read
	}
	var b strings.Builder
	stopped := ctx.Err() != nil
	table := ""
	if s.settings.report || !s.settings.quiet && width > 0 {
		table = s.table(width, stopped) + "\n"
	}
	failures, rest := split(s.err)
	for _, f := range failures {
		if !stopped || !errors.Is(f.err, context.Canceled) {
			b.WriteString(f.String() + "\n")
		}
	}
	for _, err := range append(rest, s.also...) {
		line := "Failed: " + explain(err) + "\n"
		if !errors.Is(err, context.Canceled) && !strings.Contains(b.String(), line) {
			b.WriteString(line)
		}
	}
	good := s.err == nil && len(s.also) == 0
	if !s.settings.quiet || !good {
		b.WriteString(s.conclusion(stopped, good))
	}
	io.WriteString(w, table+fold(b.String(), width))
	if !good {
		return errSaid
	}
	return nil
}

// conclusion says where things stand and how to go on.
func (s *summary) conclusion(stopped, good bool) string {
	read := 0
	for _, p := range s.result.Partitions {
		if p.Complete {
			read++
		}
	}
	line := fmt.Sprintf("%s from %d of %d accounts and Regions in %s", count(s.store.records, "record"), read, len(s.result.Partitions), clock(s.took))
	if stopped {
		line = "Stopped: " + line + " so far"
	}
	if s.settings.out != "" {
		line += ", appended to " + s.settings.out
	}
	line += ".\n"
	switch {
	case s.settings.state != "" && s.result.Token == s.store.token && good:
		line += fmt.Sprintf("The state is in %s: the same command again reads what is new since, and the last 15 minutes once more.\n", s.settings.state)
	case s.settings.state != "" && s.result.Token == s.store.token:
		line += fmt.Sprintf("The state is in %s: the same command again goes on from here.\n", s.settings.state)
	case s.settings.state != "" && s.store.token.IsZero():
		line += fmt.Sprintf("No state could be saved in %s: once that is mended, the same command again reads everything.\n", s.settings.state)
	case s.settings.state != "":
		line += fmt.Sprintf("%s holds the last state that could be saved: once that is mended, the same command again goes on from there.\n", s.settings.state)
	case s.err == nil: // everything was read
	case read == 0 && s.store.records == 0 && stopped:
		line += "Nothing was read yet: the same command begins again.\n"
	case read == 0 && s.store.records == 0:
		line += "Nothing was read: give the same command again once that is mended.\n"
	default:
		line += "To go on from here, give the same command and\n  -since " + s.result.Token.String() + "\n(with -state FILE the program keeps that by itself.)\n"
	}
	if s.settings.demo && good && s.settings.state == "" {
		line += demoHint(s.result)
	}
	return line
}

// table shows what was done in each partition.
func (s *summary) table(width int, stopped bool) string {
	t := table.NewWriter()
	narrow := width > 0 && width < wide
	if narrow {
		t.SetStyle(plainStyle)
	} else {
		t.SetStyle(table.StyleLight)
		t.Style().Format.Header, t.Style().Format.Footer = text.FormatDefault, text.FormatDefault
		t.Style().Options.SeparateColumns = false
	}
	right := func(name string) table.ColumnConfig {
		return table.ColumnConfig{Name: name, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight}
	}
	t.SetColumnConfigs([]table.ColumnConfig{right("Records"), right("Requests"), right("Throttled"), {Name: "Retries", Hidden: narrow, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight}})
	t.AppendHeader(table.Row{"Account and Region", "Records", "Requests", "Retries", "Throttled", "Result"})
	var records, requests, retries, throttles, complete int
	longest := len("Account and Region")
	for _, p := range s.result.Partitions {
		longest = max(longest, len(p.Partition.String()))
		if p.Complete {
			complete++
		}
		records, requests, retries, throttles = records+p.Records, requests+p.Requests, retries+p.Retries, throttles+p.Throttles
	}
	// What is left for the last column; long results wrap.
	last := 60
	if width > 0 {
		last = max(12, width-longest-48)
	}
	if narrow { // no frame, and no column of retries
		last = max(12, width-longest-33)
	}
	for _, p := range s.result.Partitions {
		t.AppendRow(table.Row{p.Partition, number(p.Records), number(p.Requests), number(p.Retries), number(p.Throttles), text.WrapSoft(outcome(p, stopped, last), last)})
	}
	t.AppendFooter(table.Row{fmt.Sprintf("%d of %d read", complete, len(s.result.Partitions)), number(records), number(requests), number(retries), number(throttles), clock(s.took)})
	lines := strings.Split(t.Render(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func outcome(p cloudtrail.PartitionResult, stopped bool, width int) string {
	switch {
	case p.Err != nil:
		op := ""
		if pe, ok := errors.AsType[*cloudtrail.PartitionError](p.Err); ok {
			op = pe.Op + " "
		}
		if len("failed: "+op+brief(p.Err)) > width {
			op = ""
		}
		return "failed: " + op + brief(p.Err)
	case p.Skipped != "" && len("skipped: "+p.Skipped) > width:
		return p.Skipped
	case p.Skipped != "":
		return "skipped: " + p.Skipped
	case p.Complete:
		return "complete"
	case stopped:
		return "stopped"
	}
	return "not complete"
}
