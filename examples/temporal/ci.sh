#!/usr/bin/env bash
# Runs what needs a Temporal server: the test that kills workers and the server,
# and the demo. The server is built once, through the Go module proxy, into the
# user's cache folder (TEMPORAL_CLI names another); it and everything else runs
# on loopback and is stopped at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec </dev/null

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT

echo "-- build"
go build -o "$bin/temporal-example" .
go vet -tags chaos ./...

echo "-- demo"
"$bin/temporal-example" demo

echo "-- workers die"
go test -tags chaos -run TestWorkersDie -count=1 -timeout 14m -v .
