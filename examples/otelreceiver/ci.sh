#!/usr/bin/env bash
# Builds a Collector with the receiver and runs it against the fake: killed
# again and again, and with the sink down, it delivers every event.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec go run ./trial -kill
