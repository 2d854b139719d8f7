#!/usr/bin/env bash
# Runs one command of the source, or all four, against a fake CloudTrail on
# loopback, as the platform would: ./demo.sh [spec|check|discover|read [STATE]]
# Needs Go only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

tmp=$(mktemp -d)
fake=
trap '[ -z "$fake" ] || { kill "$fake"; wait "$fake" || true; }; rm -rf "$tmp"' EXIT
go build -o "$tmp/airbyte" .
(cd .. && go build -o "$tmp/fake" ./fake)

touch "$tmp/env"
"$tmp/fake" -latency 50ms >>"$tmp/env" &
fake=$!
until grep -q '^# ready' "$tmp/env"; do kill -0 "$fake"; sleep 0.1; done
export AWS_ENDPOINT_URL
AWS_ENDPOINT_URL=$(sed -n 's/^AWS_ENDPOINT_URL=//p' "$tmp/env")

run() {
  case $1 in
    spec) "$tmp/airbyte" spec ;;
    read) "$tmp/airbyte" read --config demo/config.json --catalog demo/catalog.json ${2:+--state "$2"} ;;
    *) "$tmp/airbyte" "$1" --config demo/config.json ;;
  esac
}
if [ $# -gt 0 ]; then
  run "$@"
else
  for command in spec check discover read; do run "$command"; done
fi
