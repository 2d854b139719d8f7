package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cloudtrail-connector/cloudtrail"
)

// settings are the flags.
type settings struct {
	config  cloudtrail.Config
	options cloudtrail.SyncOptions

	out, state, plot                     string
	demo, raw, report, test, quiet, days bool // days: -lookback-days was given
}

// connectorFlags are the flags that the library parses: by their key in
// ConfigFromSettings, what -help says of them.
var connectorFlags = map[string]string{
	"regions":          "comma-separated `Regions`, or all (default: AWS_REGION or that of the AWS profile)",
	"assumeRoleArn":    "comma-separated `ARNs` of the IAM roles to assume (default: none, the account of the credentials is read)",
	"assumeRoleMode":   "what several roles mean: each: all are read; chain: each is assumed with the one before it, the last is read; hub: the first is assumed, the others from it, and those are read (`mode`, default each)",
	"externalId":       "external `id` that goes with every role",
	"sessionDuration":  "how long an assumed role lasts, such as 1h or 3600: a `duration` of 15m to 12h (default 1h)",
	"pageSize":         "events that one request asks for, a `number`; never over the 50 of CloudTrail (default 100)",
	"parallelRequests": "requests in flight at most, a `number` (default 8)",
	"maxRetries":       "attempts for one request, a `number` (default 10)",
}

// optionFlags are those of ParseOperationOptions.
var optionFlags = map[string]string{
	"lookbackDays": "how far back to read, a `number` of days up to 90, fractions allowed (default 7; with -since 90)",
	"since":        "read from here on: a `token` that an earlier run printed, or an RFC 3339 time; -state goes before it",
	"filter":       "only events with this attribute, `Key=Value`: EventId, EventName, EventSource, ReadOnly, Username, ResourceType, ResourceName or AccessKeyId",
}

// parseFlags returns the settings, or an error for wrong use.
func parseFlags(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("sync", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	texts := map[string]*string{}
	for _, group := range []map[string]string{connectorFlags, optionFlags} {
		for key, usage := range group {
			texts[key] = flags.String(flagName(key), "", usage)
		}
	}
	flags.BoolVar(&s.demo, "demo", false, "read an embedded fake of AWS instead: needs no account and no network")
	flags.BoolVar(&s.raw, "raw", false, "add every event's whole JSON to its record, as RAW")
	flags.BoolVar(&s.report, "report", false, "print what was done for each account and Region as a table, also where standard error is no terminal")
	flags.BoolVar(&s.test, "test", false, "check credentials and permission, then stop")
	flags.BoolVar(&s.quiet, "quiet", false, "print nothing but errors (and the -report)")
	flags.StringVar(&s.out, "out", "", "append the records to this `file`, JSON Lines (default: standard output)")
	flags.StringVar(&s.state, "state", "", "go on from what this `file` says and keep it up to date: repeated runs read everything, nothing twice but the last 15 minutes")
	flags.StringVar(&s.plot, "plot", "", "draw this run's events per hour into this `file`, .png or .svg")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stderr, "Reads the CloudTrail event history and writes one JSON record a line.\nCredentials come from the AWS default chain: AWS_PROFILE, AWS_ACCESS_KEY_ID, an instance or task role …\n\n")
			flags.SetOutput(stderr)
			flags.PrintDefaults()
			fmt.Fprintf(stderr, "\nExit code %d: all was read; %d: something failed, what could be read was written; %d: wrong use.\n", exitDone, exitFailed, exitUsage)
		}
		return s, err
	}

	wrong := func(format string, a ...any) error { return fmt.Errorf(format, a...) }
	var errs []error
	if flags.NArg() > 0 {
		errs = append(errs, wrong("%q is no flag: flags start with - and come before anything else", flags.Arg(0)))
	}
	flags.Visit(func(f *flag.Flag) {
		if f.Value.String() == "" {
			errs = append(errs, wrong("-%s is given without a value: leave it out, or give one", f.Name))
		}
		s.days = s.days || f.Name == "lookback-days"
	})
	if ext := strings.ToLower(filepath.Ext(s.plot)); s.plot != "" && ext != ".png" && ext != ".svg" {
		errs = append(errs, wrong("-plot %s: the name must end in .png or .svg", s.plot))
	}
	for _, pair := range [][2]string{{s.out, s.state}, {s.out, s.plot}, {s.state, s.plot}} {
		if pair[0] != "" && filepath.Clean(pair[0]) == filepath.Clean(pair[1]) {
			errs = append(errs, wrong("%s is named twice: -out, -state and -plot need a file each", pair[0]))
		}
	}

	if d, err := time.ParseDuration(*texts["sessionDuration"]); err == nil && d%time.Second == 0 {
		*texts["sessionDuration"] = strconv.Itoa(int(d / time.Second))
	}
	pick := func(group map[string]string) map[string]string {
		m := map[string]string{}
		for key := range group {
			m[key] = *texts[key]
		}
		return m
	}
	var err error
	s.config, err = cloudtrail.ConfigFromSettings(pick(connectorFlags))
	errs = append(errs, err)
	s.options, err = cloudtrail.ParseOperationOptions(pick(optionFlags))
	errs = append(errs, err)
	if !s.options.Since.IsZero() && !s.days {
		s.options.LookbackDays = 90 // or else the default of 7 would win over -since
	}
	return s, errors.Join(errs...)
}

// flagName returns the flag of a settings key: "assume-role-arn" for
// "assumeRoleArn", and for the Config's own "AssumeRoleARN".
func flagName(key string) string {
	var b strings.Builder
	for i, r := range key {
		if unicode.IsUpper(r) && i > 0 && unicode.IsLower(rune(key[i-1])) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// isFlag reports whether that name is a flag of the connector.
func isFlag(name string) bool {
	keys := slices.Concat(slices.Collect(maps.Keys(connectorFlags)), slices.Collect(maps.Keys(optionFlags)))
	return slices.ContainsFunc(keys, func(k string) bool { return flagName(k) == name })
}
