package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/jedib0t/go-pretty/v6/text"
)

// failure is what failed in the same way in one or more partitions.
type failure struct {
	err   error
	what  string
	hint  string
	where []string
}

func (f failure) String() string {
	const most = 6
	where := strings.Join(f.where[:min(most, len(f.where))], ", ")
	if more := len(f.where) - most; more > 0 {
		where += fmt.Sprintf(" and %d more", more)
	}
	s := "Failed: " + where + "\n  " + f.what
	if f.hint != "" {
		s += "\n  " + strings.ToUpper(f.hint[:1]) + f.hint[1:] + "."
	}
	return s
}

// split takes a joined error apart: into the partitions' failures, those that
// are alike put together, and the rest.
func split(err error) (failures []failure, rest []error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && err.Error() == errors.Join(joined.Unwrap()...).Error() {
		for _, e := range joined.Unwrap() {
			f, r := split(e)
			failures, rest = append(failures, f...), append(rest, r...)
		}
	} else if pe, ok := errors.AsType[*cloudtrail.PartitionError](err); ok {
		failures = []failure{{err, pe.Op + ": " + plain(pe.Err), pe.Hint, []string{pe.Partition.String()}}}
	} else if err != nil {
		rest = []error{err}
	}
	var merged []failure
	for _, f := range failures {
		alike := func(g failure) bool {
			return cmp.Or(f.hint, f.what) == cmp.Or(g.hint, g.what) && brief(f.err) == brief(g.err)
		}
		if i := slices.IndexFunc(merged, alike); i >= 0 {
			merged[i].where = append(merged[i].where, f.where...)
		} else {
			merged = append(merged, f)
		}
	}
	return merged, rest
}

// plain is an error without the SDK's call stack in words.
func plain(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return err.Error()
}

// explain writes an error for a person, with the names that flags have.
func explain(err error) string {
	failures, rest := split(err)
	var lines []string
	for _, f := range failures {
		lines = append(lines, f.String())
	}
	for _, e := range rest {
		line := strings.TrimPrefix(e.Error(), "cloudtrail: ")
		if errors.Is(e, cloudtrail.ErrInvalidToken) {
			line = strings.Replace(line, "cloudtrail: ", "", 1)
		}
		if bad, ok := e.(*cloudtrail.ConfigError); ok {
			line = bad.Field + ": " + bad.Reason
			if name := flagName(bad.Field); isFlag(name) {
				line = "-" + name + ": " + bad.Reason
			}
			if bad.Field == "DefaultRegion" && strings.HasPrefix(bad.Reason, "is missing") {
				line = "-regions is missing: give it, or have AWS_REGION or the AWS profile tell a Region"
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// fold breaks lines at spaces so that they fit a terminal. A token stays whole.
func fold(s string, width int) string {
	if width <= 0 {
		return s
	}
	var lines []string
	for _, line := range strings.Split(s, "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		folded, column := indent, len(indent)
		for i, word := range strings.Fields(line) {
			n := text.RuneWidthWithoutEscSequences(word)
			switch {
			case i == 0:
			case column+1+n > width-1 && !strings.HasPrefix(line, "  -since "):
				folded, column = folded+"\n"+indent, len(indent)
			default:
				folded, column = folded+" ", column+1
			}
			folded, column = folded+word, column+n
		}
		lines = append(lines, folded)
	}
	return strings.Join(lines, "\n")
}
