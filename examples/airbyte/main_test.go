package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cloudtrail-connector/cloudtrail"
	"github.com/cloudtrail-connector/cloudtrail/cloudtrailtest"
)

// The library's own list of settings is in its answer to an unknown one.
func settingKeys(t *testing.T) []string {
	t.Helper()
	_, err := cloudtrail.ConfigFromSettings(map[string]string{"nothing like any of them": "x"})
	unknown, ok := errors.AsType[*cloudtrail.ConfigError](err)
	if !ok {
		t.Fatalf("%v", err)
	}
	_, list, ok := strings.Cut(unknown.Reason, "known are ")
	if !ok {
		t.Fatalf("%v", err)
	}
	return strings.Split(list, ", ")
}

func TestSpec(t *testing.T) {
	exit, out := drive(t, t.Context(), nil, "spec")
	if exit != exitOK || len(out) != 1 || out[0].Type != "SPEC" {
		t.Fatalf("exit %d: %v", exit, out)
	}
	var spec struct {
		Connection struct {
			Properties map[string]struct {
				Secret bool `json:"airbyte_secret"`
				Order  *int
			}
		} `json:"connectionSpecification"`
	}
	if err := json.Unmarshal(out[0].Spec, &spec); err != nil {
		t.Fatal(err)
	}
	keys := slices.Sorted(maps.Keys(spec.Connection.Properties))
	want := slices.Sorted(slices.Values(append(settingKeys(t), "lookbackDays", "filter", "startDate")))
	if !slices.Equal(keys, want) {
		t.Errorf("settings %q, want %q", keys, want)
	}
	var secret []string
	order := map[int]bool{}
	for _, key := range keys {
		p := spec.Connection.Properties[key]
		if p.Secret {
			secret = append(secret, key)
		}
		if p.Order == nil || order[*p.Order] {
			t.Errorf("%s has no order of its own", key)
			continue
		}
		order[*p.Order] = true
	}
	if want := []string{"accessKeyId", "externalId", "secretAccessKey", "sessionToken"}; !slices.Equal(secret, want) {
		t.Errorf("secret are %q, want %q", secret, want)
	}
}

func TestDiscover(t *testing.T) {
	exit, out := drive(t, t.Context(), newFake(), "discover", "--config", write(t, config(nil)))
	if exit != exitOK || len(out) != 1 || out[0].Catalog == nil || len(out[0].Catalog.Streams) != 1 {
		t.Fatalf("exit %d: %v", exit, out)
	}
	s := out[0].Catalog.Streams[0]
	if s.Name != "cloudtrail_events" || !s.SourceDefinedCursor || !slices.Equal(s.SyncModes, []string{"full_refresh", "incremental"}) {
		t.Errorf("%s", out[0].text)
	}
	properties := s.JSONSchema["properties"].(map[string]any)
	if len(properties) != len(cloudtrail.Describe().Attributes) {
		t.Errorf("%d properties", len(properties))
	}
	cursor, ok := properties[s.CursorField[0]].(map[string]any)
	if !ok || cursor["format"] != "date-time" || cursor["airbyte_type"] != "timestamp_with_timezone" {
		t.Errorf("the cursor %v is %v", s.CursorField, cursor)
	}
	if key, ok := properties[s.PrimaryKey[0][0]].(map[string]any); !ok || key["type"] != "string" {
		t.Errorf("the key %v is %v", s.PrimaryKey, key)
	}
}

func TestCheck(t *testing.T) {
	const role = "arn:aws:iam::222233334444:role/audit"
	for name, test := range map[string]struct {
		config  map[string]any
		fault   *cloudtrailtest.Fault
		exit    int
		kind    string // "": the check succeeds
		message []string
	}{
		"fine": {},
		"wrong secret": {
			config: map[string]any{"secretAccessKey": "wrong-secret-of-the-user"},
			kind:   configError, message: []string{"secret access key is wrong"},
		},
		"bad settings": {
			config: map[string]any{"regions": []string{"everywhere"}, "maxRetries": 0, "lookbackDays": "x", "startDate": "2999-01-01", "sessiontoken": "session-token-of-the-user"},
			kind:   configError, message: []string{"regions number 1 of 1", "maxRetries must", "lookbackDays must", "startDate must", `write "sessionToken"`},
		},
		"setting of a wrong kind": {
			config: map[string]any{"secretAccessKey": map[string]any{"value": "wrong-secret-of-the-user"}},
			kind:   configError, message: []string{"secretAccessKey must be a text"},
		},
		"role that can't be assumed": {
			config: map[string]any{"assumeRoleArn": role, "externalId": "external-id-of-the-user"},
			kind:   configError, message: []string{"AssumeRole failed for 222233334444/us-east-1, 222233334444/eu-west-1", role, "AccessDenied", "trust policy"},
		},
		"overload": {
			config: map[string]any{"maxRetries": 1}, fault: cloudtrailtest.Status(503),
			exit: exitFailed, kind: transientError, message: []string{"LookupEvents failed for 111122223333/us-east-1, 111122223333/eu-west-1"},
		},
		"throttled": {
			config: map[string]any{"maxRetries": 1}, fault: cloudtrailtest.Throttling(),
			exit: exitFailed, kind: transientError, message: []string{"ThrottlingException", "quota"},
		},
		"broken connection": {
			config: map[string]any{"maxRetries": 1}, fault: cloudtrailtest.Cut(),
			exit: exitFailed, kind: transientError, message: []string{"LookupEvents failed"},
		},
		"connection reset": {
			config: map[string]any{"maxRetries": 1}, fault: cloudtrailtest.Reset(),
			exit: exitFailed, kind: transientError, message: []string{"LookupEvents failed", "no connection to CloudTrail"},
		},
		"empty answer": {
			config: map[string]any{"maxRetries": 1}, fault: cloudtrailtest.EmptyBody(),
			exit: exitFailed, kind: transientError, message: []string{"LookupEvents failed", "check the network"},
		},
		"no Region at all": {
			config: map[string]any{"regions": []string{"all"}}, fault: cloudtrailtest.Error(400, "AccessDeniedException", "with an explicit deny in a service control policy"),
			kind: configError, message: []string{"no Region of the account can be read"},
		},
		"unheard-of error": {
			config: map[string]any{"maxRetries": 1}, fault: cloudtrailtest.Error(400, "SomethingNew", "?"),
			exit: exitFailed, kind: systemError, message: []string{"SomethingNew"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake("us-east-1", "eu-west-1")
			fake.SetFault(func(c cloudtrailtest.Call) *cloudtrailtest.Fault {
				if c.Action != "LookupEvents" {
					return nil
				}
				return test.fault
			})
			exit, out := drive(t, t.Context(), fake, "check", "--config", write(t, config(test.config)))
			if exit != test.exit {
				t.Errorf("exit %d, want %d", exit, test.exit)
			}
			last := out[len(out)-1].Connection
			if last == nil {
				t.Fatalf("ends with %s", out[len(out)-1].text)
			}
			if test.kind == "" {
				if last.Status != "SUCCEEDED" || last.Message != "" || len(out.traced()) > 0 {
					t.Errorf("%+v, %+v", last, out.traced())
				}
				return
			}
			if last.Status != "FAILED" {
				t.Errorf("%+v", last)
			}
			for _, e := range out.traced() {
				if e.FailureType != test.kind || !strings.Contains(last.Message, e.Message) {
					t.Errorf("%+v", e)
				}
			}
			for _, part := range test.message {
				if !strings.Contains(last.Message, part) {
					t.Errorf("%q is not in the message: %s", part, last.Message)
				}
			}
		})
	}
}

// The default chain finds nothing here, and says so to the user.
func TestCheckWithoutCredentials(t *testing.T) {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	exit, out := drive(t, t.Context(), nil, "check", "--config", write(t, map[string]any{"regions": "us-east-1"}))
	errs := out.traced()
	if exit != exitOK || len(errs) != 1 || errs[0].FailureType != configError || !strings.Contains(errs[0].Message, "access key") {
		t.Errorf("exit %d: %+v", exit, errs)
	}
}

func TestCommandLine(t *testing.T) {
	file := write(t, config(nil))
	for _, args := range [][]string{
		{}, {"write"}, {"check"}, {"check", "--config"}, {"check", "--config", file, "more"}, {"check", "--nothing"},
		{"read", "--config", file}, {"read", "--catalog", file}, {"spec", "--config", file},
	} {
		exit, out := drive(t, t.Context(), nil, args...)
		if exit != exitUsage || len(out) != 1 || len(out.traced()) != 1 {
			t.Errorf("%q: exit %d: %v", args, exit, out)
		}
	}
	if exit, out := drive(t, t.Context(), nil, "--help"); exit != exitOK || len(out) != 0 {
		t.Errorf("--help: exit %d: %v", exit, out)
	}
	exit, out := drive(t, t.Context(), nil, "discover", "--config", file+".missing")
	if exit != exitFailed || len(out.traced()) != 1 {
		t.Errorf("a missing file: exit %d: %v", exit, out)
	}
	exit, out = drive(t, t.Context(), nil, "discover", "--config", write(t, []byte(`{"secretAccessKey": "wrong-secret-of-the-user`)))
	if exit != exitFailed || len(out.traced()) != 1 || out.traced()[0].FailureType != configError {
		t.Errorf("no JSON: exit %d: %v", exit, out)
	}
}

// Nobody reads what the source says: it must not go on as if somebody did.
func TestBrokenOutput(t *testing.T) {
	fake := newFake("us-east-1", "eu-west-1")
	addEvents(fake, "us-east-1", 1, 500)
	for _, command := range []string{"spec", "check", "discover", "read"} {
		args := []string{command}
		if command != "spec" {
			args = append(args, "--config", write(t, config(nil)))
		}
		if command == "read" {
			args = append(args, "--catalog", write(t, configured(incremental)))
		}
		if exit := run(t.Context(), args, brokenPipe{}, io.Discard, cloudtrail.WithAWSConfig(fake.AWSConfig("us-east-1"))); exit != exitFailed {
			t.Errorf("%s: exit %d", command, exit)
		}
	}
}
