#!/usr/bin/env bash
# Starts three members on loopback with their data under ./.run/, shows where they listen, streams the
# interesting lines of their logs, and stops them cleanly on Ctrl-C or SIGTERM (then returns 0).
# Run again, it finds the data of the time before.
#
#   GULPD                the server's binary            (.build/release/gulpd)
#   GULPCTL              the command line shown         (.build/release/gulpctl)
#   GULP_RUN_DIR         where data and logs go         (.run)
#   GULP_CLIENT_PORTS    client ports of m1 m2 m3       (2379 22379 32379)
#   GULP_PEER_PORTS      peer ports of m1 m2 m3         (2380 22380 32380)
#   GULP_LOG_FILTER      which log lines are shown, an extended regular expression
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

gulpd=${GULPD:-.build/release/gulpd}
gulpctl=${GULPCTL:-.build/release/gulpctl}
run_dir=${GULP_RUN_DIR:-.run}
read -r -a client_ports <<<"${GULP_CLIENT_PORTS:-2379 22379 32379}"
read -r -a peer_ports <<<"${GULP_PEER_PORTS:-2380 22380 32380}"
filter=${GULP_LOG_FILTER:-ready to serve|leader|election|snapshot|removed|refus|corrupt|shut|stopp|warn|error|fatal|panic}
ready_seconds=60
stop_seconds=10
names=(m1 m2 m3)

die() {
    echo "run: $*" >&2
    exit 1
}

check() {
    [ -x "$gulpd" ] || die "no server at $gulpd; build it with: make build"
    [ ${#client_ports[@]} = 3 ] && [ ${#peer_ports[@]} = 3 ] ||
        die "GULP_CLIENT_PORTS and GULP_PEER_PORTS each take three ports"
    local port
    for port in "${client_ports[@]}" "${peer_ports[@]}"; do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            die "port $port is taken; stop what listens there (ss -ltnp 'sport = :$port') or choose others by GULP_CLIENT_PORTS and GULP_PEER_PORTS"
        fi
    done
    # The peer URLs are part of the cluster's identity from its first start on.
    mkdir -p "$run_dir"
    local ports="${peer_ports[*]}"
    if [ -e "$run_dir/peer-ports" ] && [ "$(cat "$run_dir/peer-ports")" != "$ports" ]; then
        die "the data in $run_dir was made with GULP_PEER_PORTS='$(cat "$run_dir/peer-ports")'; use those, or remove $run_dir to start afresh"
    fi
    echo "$ports" >"$run_dir/peer-ports"
}

log_of() { echo "$run_dir/${names[$1]}.log"; }

pids=()
start_member() {
    local i=$1 cluster="" j log
    for j in 0 1 2; do cluster+="${cluster:+,}${names[$j]}=http://127.0.0.1:${peer_ports[$j]}"; done
    log=$(log_of "$i")
    [ ! -e "$log" ] || mv "$log" "$log.before"
    # setsid keeps the terminal's Ctrl-C from the members: this script stops them, each once.
    setsid "$gulpd" --name "${names[$i]}" --data-dir "$run_dir/${names[$i]}" \
        --listen-client-urls "http://127.0.0.1:${client_ports[$i]}" \
        --advertise-client-urls "http://127.0.0.1:${client_ports[$i]}" \
        --listen-peer-urls "http://127.0.0.1:${peer_ports[$i]}" \
        --initial-advertise-peer-urls "http://127.0.0.1:${peer_ports[$i]}" \
        --initial-cluster "$cluster" --initial-cluster-token gulp-run </dev/null >"$log" 2>&1 &
    pids[i]=$!
}

is_running() { [ -n "${pids[$1]:-}" ] && kill -0 "${pids[$1]}" 2>/dev/null; }

stop_all() {
    trap '' INT TERM
    local i deadline=$((SECONDS + stop_seconds))
    for i in "${!pids[@]}"; do
        if is_running "$i"; then kill -TERM "${pids[$i]}" 2>/dev/null || true; fi
    done
    for i in "${!pids[@]}"; do
        while is_running "$i" && [ $SECONDS -lt $deadline ]; do sleep 0.1; done
        if is_running "$i"; then
            echo "run: ${names[$i]} did not stop within $stop_seconds s of SIGTERM, killing it (pid ${pids[$i]})" >&2
            kill -KILL "${pids[$i]}" 2>/dev/null || true
        fi
    done
}

wait_until_ready() {
    local i=$1 log deadline=$((SECONDS + ready_seconds))
    log=$(log_of "$i")
    until grep -q "ready to serve client requests" "$log" 2>/dev/null; do
        is_running "$i" || die "${names[$i]} ended before it was ready: $(tail -n 1 "$log") (all of it: $log)"
        [ $SECONDS -lt $deadline ] || die "${names[$i]} was not ready within $ready_seconds s; see $log"
        sleep 0.1
    done
}

show() {
    local i endpoints=""
    echo
    for i in 0 1 2; do
        echo "  ${names[$i]}  clients http://127.0.0.1:${client_ports[$i]}  peers http://127.0.0.1:${peer_ports[$i]}  pid ${pids[$i]}  log $(log_of "$i")"
        endpoints+="${endpoints:+,}127.0.0.1:${client_ports[$i]}"
    done
    cat <<END

Three members serve. From another terminal, for instance:

  export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=$endpoints
  etcdctl put greeting hello
  etcdctl get greeting
  etcdctl watch --prefix greet
  etcdctl endpoint status --cluster -w table
  $gulpctl --endpoints $endpoints get greeting
  curl http://127.0.0.1:${client_ports[0]}/health

(etcdctl is in Debian's package etcd-client.) Ctrl-C stops all three; their data stays in $run_dir.

END
}

# Ends by itself when the member does (tail's --pid).
stream_log() {
    local i=$1
    tail -n +1 --pid="${pids[$i]}" -F "$(log_of "$i")" 2>/dev/null |
        grep --line-buffered -iE "$filter" | sed -u "s/^/[${names[$i]}] /" &
}

watch_members() {
    local i alive reported=()
    while :; do
        alive=0
        for i in 0 1 2; do
            if is_running "$i"; then
                alive=$((alive + 1))
            elif [ -z "${reported[$i]:-}" ]; then
                reported[i]=yes
                echo "run: ${names[$i]} has ended (its last line: $(tail -n 1 "$(log_of "$i")"))" >&2
            fi
        done
        [ $alive -gt 0 ] || die "no member is left; their logs are in $run_dir"
        sleep 0.5
    done
}

check
trap stop_all EXIT
trap 'echo; echo "run: stopping"; stop_all; echo "run: stopped, data kept in $run_dir"; exit 0' INT TERM
for i in 0 1 2; do start_member $i; done
for i in 0 1 2; do wait_until_ready $i; done
show
for i in 0 1 2; do stream_log $i; done
watch_members
