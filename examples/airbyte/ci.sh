#!/usr/bin/env bash
# The real program against a fake CloudTrail on loopback: all four commands,
# every message validated, SIGKILL in the middle, SIGTERM, and what a user gets
# wrong.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec </dev/null
for name in $(compgen -e AWS_ || true); do unset "$name"; done
export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null

tmp=$(mktemp -d)
fake=
trap '[ -z "$fake" ] || { kill "$fake"; wait "$fake" || true; }; rm -rf "$tmp"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
step() { echo "-- $*"; }

step "build"
go build -o "$tmp/airbyte" .
(cd .. && go build -o "$tmp/fake" ./fake)
cp package.json package-lock.json .npmrc protocol.schema.json validate.js platform.js "$tmp"
(cd "$tmp" && npm ci --ignore-scripts --no-audit --no-fund)

touch "$tmp/env"
"$tmp/fake" -latency 50ms >>"$tmp/env" &
fake=$!
until grep -q '^# ready' "$tmp/env"; do kill -0 "$fake"; sleep 0.1; done
AWS_ENDPOINT_URL=$(sed -n 's/^AWS_ENDPOINT_URL=//p' "$tmp/env")
export AWS_ENDPOINT_URL
key=$(sed -n 's/^AWS_ACCESS_KEY_ID=//p' "$tmp/env")
secret=$(sed -n 's/^AWS_SECRET_ACCESS_KEY=//p' "$tmp/env")
external=$(sed -n 's/.* external id //p' "$tmp/env")
roles=$(sed -n 's/^# role \([^ ]*\).*/\1/p' "$tmp/env" | paste -sd,)
want=$(($(sed -n 's/^# account .*: \([0-9]*\) events$/\1/p' "$tmp/env" | paste -sd+)))
unknown=arn:aws:iam::999900009999:role/unknown

# config NAME MORE writes a configuration of the fake's keys and three Regions.
config() {
  echo "{\"accessKeyId\": \"$key\", \"secretAccessKey\": \"$secret\", \"regions\": [\"us-east-1\", \"us-west-2\", \"eu-central-1\"], \"assumeRoleArn\": \"$roles\"$2}" >"$tmp/$1.json"
}
config good ", \"externalId\": \"$external\", \"lookbackDays\": 7"
config locked ", \"lookbackDays\": 7"
config unassumable ", \"externalId\": \"$external\", \"assumeRoleArn\": \"$unknown\""
config bad ", \"regions\": [\"everywhere\"], \"maxRetries\": 0"

# airbyte EXIT NAME ARGS runs the program, wants the exit code and keeps what it
# printed as NAME.jsonl.
airbyte() {
  local exit=0
  "$tmp/airbyte" "${@:3}" >"$tmp/$2.jsonl" || exit=$?
  if [ "$exit" != "$1" ]; then cat "$tmp/$2.jsonl"; fail "$2: exit $exit instead of $1"; fi
}
wants() { grep -q -e "$2" "$tmp/$1.jsonl" || { grep -v '"RECORD"' "$tmp/$1.jsonl"; fail "$1: no $2"; }; }
read_with() { echo "read --config $tmp/$1.json --catalog demo/catalog.json"; }

step "spec, check, discover"
airbyte 0 spec spec
airbyte 0 check check --config "$tmp/good.json"
wants check '"SUCCEEDED"'
airbyte 0 discover discover --config "$tmp/good.json"

step "read, killed at the first record and at every STATE: $want events"
(cd "$tmp" && node platform.js "$want" . ./airbyte good.json "$OLDPWD/demo/catalog.json")

step "read on, from the last STATE"
airbyte 0 on $(read_with good) --state "$tmp/state.json"
wants on '"COMPLETE"'
again=$(grep -c '"RECORD"' "$tmp/on.jsonl" || true)
[ "$again" -lt $((want / 10)) ] || fail "$again of $want records are read again"

step "SIGTERM"
wants round-term '"STATE"'
wants round-term '"INCOMPLETE"'
wants round-term '"transient_error"'

step "bad settings"
airbyte 0 bad-check check --config "$tmp/bad.json"
wants bad-check '"FAILED"'
airbyte 1 bad-read $(read_with bad)
for name in bad-check bad-read; do
  wants $name '"config_error"'
  wants $name 'maxRetries must be a whole number'
done
airbyte 2 usage read --config "$tmp/good.json"
wants usage 'catalog is missing'

step "roles that can't be assumed"
airbyte 0 unassumable-check check --config "$tmp/unassumable.json"
wants unassumable-check '"FAILED".*AssumeRole failed for 999900009999/us-east-1'
airbyte 1 unassumable-read $(read_with unassumable)
wants unassumable-read '"config_error"'
airbyte 1 locked-read $(read_with locked) # the other accounts are read all the same
wants locked-read 'AssumeRole failed for 333344445555/us-east-1, .*external id'
wants locked-read '"INCOMPLETE"'
wants locked-read '"RECORD"'

step "every message against the protocol's schema"
cd "$tmp"
for file in *.jsonl; do
  node validate.js "$file" spec.jsonl discover.jsonl good.json locked.json unassumable.json
done
# The validation can fail: each of these must.
broken() {
  echo "$2" >"$tmp/broken"
  if node validate.js "$tmp/broken" spec.jsonl discover.jsonl "${@:3}" >"$tmp/said" 2>&1; then fail "valid, but $1"; fi
}
at='"emitted_at":1795364256958'
record='{"type":"RECORD","record":{"stream":"cloudtrail_events",'$at',"data":'
broken "no JSON" '{"type":"LOG"'
broken "without its payload" '{"type":"LOG"}'
broken "of two types" '{"type":"LOG","log":{"level":"INFO","message":"x"},"trace":{}}'
broken "level" '{"type":"LOG","log":{"level":"NOTICE","message":"x"}}'
broken "unknown attribute" "$record"'{"UID":"1","COLOUR":"red"}}}'
broken "no time" "$record"'{"UID":"1","EVENT_TIME":"yesterday"}}}'
broken "without a kind" '{"type":"TRACE","trace":{"type":"ERROR",'$at',"error":{"message":"x"}}}'
broken "a wrong count" '{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"x"}},"sourceStats":{"recordCount":1.0}}}'
broken "a whole count" '{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"x"}},"sourceStats":{"recordCount":0}}}'
broken "a bad configuration" '{"type":"LOG","log":{"level":"INFO","message":"x"}}' bad.json

step "no secret in any message"
if grep -l -F -e "$secret" -e "$external" ./*.jsonl; then fail "a secret in these files"; fi

step "the README's command"
cd "$OLDPWD"
command=$(sed -n 's/^    \(\.\/demo\.sh.*\)$/\1/p' README.md | head -1)
[ -n "$command" ] || fail "the README has no command"
$command >"$tmp/demo.jsonl"
wants demo '"SPEC"'
wants demo '"SUCCEEDED"'
wants demo '"CATALOG"'
wants demo '"COMPLETE"'
(cd "$tmp" && node validate.js demo.jsonl spec.jsonl discover.jsonl)
node -e 'JSON.parse(require("fs").readFileSync("README.md", "utf8").match(/```json\n([^]*?)```/)[1])'
echo "ok"
