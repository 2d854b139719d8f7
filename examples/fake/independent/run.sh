#!/usr/bin/env bash
# Checks examples/fake with the AWS SDK for JavaScript. Needs Go and Node.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")"

tmp=$(mktemp -d)
fake=
cleanup() {
	[[ -z $fake ]] || kill "$fake" 2>/dev/null || true
	rm -rf "$tmp"
}
trap cleanup EXIT

npm ci --silent

go -C ../.. build -o "$tmp/fake" ./fake
"$tmp/fake" -latency 5ms -rate 20 >"$tmp/out" 2>"$tmp/err" &
fake=$!
until grep -q '^# ready' "$tmp/out"; do
	if ! kill -0 "$fake" 2>/dev/null; then
		cat "$tmp/err" >&2
		echo "run.sh: the fake did not start" >&2
		exit 1
	fi
	sleep 0.1
done

# Nothing of the caller's AWS settings may reach the check.
for name in "${!AWS_@}"; do
	unset "$name"
done
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
set -a
# shellcheck source=/dev/null
. "$tmp/out"
set +a

node check.mjs "$tmp/out"

kill "$fake"
wait "$fake" || {
	echo "run.sh: the fake did not end as it should: exit code $?" >&2
	exit 1
}
fake=
