#!/bin/bash
# The demo behind `make demo`: a whole fleet at its real limit of 10 batches a minute and worker, 20,000 real
# payments, a report. KEEP=1 leaves the fleet up (its data in build/demo); PORT=8000 chooses the port.
set -euo pipefail
cd "$(dirname "$0")/.."

stint=build/stint
input=examples/devon_20000.csv.gz
port=${PORT:-0}
fleet=
data=
log=

say() { printf '\n== %s\n' "$*"; }

fail() {
    echo "demo: $*" >&2
    if [ -n "$log" ] && [ -f "$log" ]; then
        echo "demo: the last lines of the fleet's log, $log:" >&2
        tail -n 15 "$log" >&2
        log= # keep it
    fi
    exit 1
}

# Only processes that this demo started are ended, by their ids.
finish() {
    local code=$?
    trap - EXIT
    if [ -n "$fleet" ] && kill -0 "$fleet" 2>/dev/null; then
        kill -TERM "$fleet" || true
        wait "$fleet" || true
    fi
    if [ "$code" = 0 ] && [ -n "$data" ] && [ "${KEEP:-}" != 1 ]; then
        rm -rf "$data"
    elif [ "$code" != 0 ] && [ -n "$data" ]; then
        echo "demo: data and log are left in $data" >&2
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

[ -x "$stint" ] || fail "$stint is not built: run make"
[ -f "$input" ] || fail "$input is missing"
if [ "${KEEP:-}" = 1 ]; then
    data=build/demo
    mkdir -p "$data"
else
    data=$(mktemp -d "${TMPDIR:-/tmp}/stint-demo.XXXXXX")
fi
log=$data/fleet.log
ready=$data/ready.txt

say "starting the fleet: 1 broker, 1 api, 1 scheduler, 4 workers of 10 batches a minute"
: >"$ready"
# KEEP=1 outlives this script and its terminal.
if [ "${KEEP:-}" = 1 ]; then
    setsid "$stint" up --data "$data" --listen "127.0.0.1:$port" --workers 4 >"$ready" 2>"$log" </dev/null &
else
    "$stint" up --data "$data" --listen "127.0.0.1:$port" --workers 4 >"$ready" 2>"$log" </dev/null &
fi
fleet=$!
for _ in $(seq 1 200); do
    [ -s "$ready" ] && break
    kill -0 "$fleet" 2>/dev/null || { fleet=; fail "the fleet did not start"; }
    sleep 0.1
done
[ -s "$ready" ] || fail "the fleet was not ready within 20 s"
cat "$ready"
server=$(sed -nE 's/.*(http:\/\/[^ ]+) .*/\1/p' "$ready")
pids=$(sed -nE 's/.*"pid": ([0-9]+).*/\1/p' "$data/up.json")
if [ -z "$server" ] || [ -z "$pids" ]; then
    fail "the fleet named no address"
fi
export STINT_SERVER=$server

say "submitting $input"
# The id stands in the first line; the rest is the progress, shown as it comes.
"$stint" submit "$input" --task process_transaction_batch --param profile=ap \
    --param benford_min_minor=100000 \
    --param 'thresholds_minor=[2500000,50000,100000,500000,1000000,5000000,10000000]' \
    >"$data/submitted.txt" || fail "the submission was refused"
cat "$data/submitted.txt"
job=$(sed -nE 's/^Job ([0-9]+) submitted.*/\1/p' "$data/submitted.txt")
[ -n "$job" ] || fail "the server named no job"
"$stint" watch "$job" || fail "the job did not complete"

say "the report"
"$stint" report "$job" || fail "there is no report"

if [ "${KEEP:-}" = 1 ]; then
    say "the fleet stays up"
    echo "address   $server"
    echo "data      $data (log: $log)"
    echo "try       STINT_SERVER=$server $stint stats"
    echo "stop it   kill $fleet"
    disown "$fleet"
    fleet=
    exit 0
fi

say "stopping"
kill -TERM "$fleet"
code=0
wait "$fleet" || code=$?
fleet=
[ "$code" = 0 ] || fail "the fleet ended with exit code $code"
for pid in $pids; do
    if kill -0 "$pid" 2>/dev/null; then
        fail "process $pid is left over"
    fi
done
echo "All processes have ended; nothing is left."
