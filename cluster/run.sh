#!/usr/bin/env bash
# Starts three gulpd on loopback, each a member of the store and an agent, and two megamd, with their data under ./.run/;
# launches the sample assembly, shows where everything listens, streams the interesting lines of the logs, and
# stops it all cleanly on Ctrl-C or SIGTERM (then returns 0). Run again, it finds the data of the time before.
#
#   GULPD GULPCTL        the programs                   (.build/release/…; gulp-guard lies beside gulpd)
#   MEGAMD MEGAM
#   GULP_RUN_DIR         where data and logs go         (.run)
#   GULP_CLIENT_PORTS    client ports of m1 m2 m3       (2379 22379 32379)
#   GULP_PEER_PORTS      peer ports of m1 m2 m3         (2380 22380 32380)
#   GULP_SAMPLE          what is launched, - for nothing (cluster/samples/hello.yaml)
#   GULP_SAMPLE_PORT     the sample's first port        (8080)
#   GULP_LOG_FILTER      which log lines are shown, an extended regular expression
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

gulpd=${GULPD:-.build/release/gulpd}
gulpctl=${GULPCTL:-.build/release/gulpctl}
megamd=${MEGAMD:-.build/release/megamd}
megam=${MEGAM:-.build/release/megam}
run_dir=${GULP_RUN_DIR:-.run}
sample=${GULP_SAMPLE:-cluster/samples/hello.yaml}
sample_port=${GULP_SAMPLE_PORT:-8080}
read -r -a client_ports <<<"${GULP_CLIENT_PORTS:-2379 22379 32379}"
read -r -a peer_ports <<<"${GULP_PEER_PORTS:-2380 22380 32380}"
filter=${GULP_LOG_FILTER:-ready to serve|leader|election|snapshot|removed|refus|corrupt|shut|stopp|warn|error|fatal|panic|leading|standing by|registered|lost}
ready_seconds=60
stop_seconds=10
# Three gulpd, then two megamd.
names=(m1 m2 m3 e1 e2)

die() {
    echo "run: $*" >&2
    exit 1
}

check() {
    local program
    for program in "$gulpd" "$megamd" "$megam"; do
        [ -x "$program" ] || die "no program at $program; build it with: make release"
    done
    [ "$sample" = - ] || [ -r "$sample" ] || die "no file to launch at $sample; name one by GULP_SAMPLE, or - for none"
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
        --initial-cluster "$cluster" --initial-cluster-token gulp-run --agent </dev/null >"$log" 2>&1 &
    pids[i]=$!
}

start_engine() {
    local i=$1 log
    log=$(log_of "$i")
    [ ! -e "$log" ] || mv "$log" "$log.before"
    setsid "$megamd" --name "${names[$i]}" --endpoints "$endpoints" </dev/null >"$log" 2>&1 &
    pids[i]=$!
}

is_running() { [ -n "${pids[$1]:-}" ] && kill -0 "${pids[$1]}" 2>/dev/null; }

# What was launched ends with the run, while there are agents to end it; it starts again with the next.
stop_assemblies() {
    [ -n "${launched:-}" ] || return 0
    local name
    for name in $("$megam" --endpoints "$endpoints" list 2>/dev/null | awk 'NR > 1 { print $1 }'); do
        "$megam" --endpoints "$endpoints" stop "$name" --wait --wait-timeout "${stop_seconds}s" >/dev/null ||
            echo "run: $name did not stop within $stop_seconds s" >&2
    done
}

stop_processes() {
    local i deadline=$((SECONDS + stop_seconds))
    for i in "$@"; do
        if is_running "$i"; then kill -TERM "${pids[$i]}" 2>/dev/null || true; fi
    done
    for i in "$@"; do
        while is_running "$i" && [ $SECONDS -lt $deadline ]; do sleep 0.1; done
        if is_running "$i"; then
            echo "run: ${names[$i]} did not stop within $stop_seconds s of SIGTERM, killing it (pid ${pids[$i]})" >&2
            kill -KILL "${pids[$i]}" 2>/dev/null || true
        fi
    done
}

# What a gulpd that was killed left running has nobody else to end it. A guard takes SIGTERM for a request to stop.
end_leftovers() {
    local file argv directory
    directory=$(realpath "$run_dir")
    for file in /proc/[0-9]*/cmdline; do
        mapfile -d '' -t argv 2>/dev/null <"$file" || continue
        [ ${#argv[@]} = 2 ] && [ "${argv[0]##*/}" = gulp-guard ] && [[ ${argv[1]} == "$directory"/* ]] || continue
        echo "run: ending what runs in ${argv[1]}; its gulpd was killed"
        kill -TERM "$(basename "$(dirname "$file")")" 2>/dev/null || true
    done
}

# From the top down: who needs the store goes before it.
stop_all() {
    trap '' INT TERM
    trap - EXIT
    stop_assemblies
    stop_processes 3 4
    stop_processes 0 1 2
    end_leftovers
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

# The sample runs from one run to the next: launched by the first, started by the others.
launch_sample() {
    launched=yes
    [ "$sample" != - ] || return 0
    local name
    name=$(sed -n 's/^name: *//p' "$sample" | head -n 1)
    local arguments=(launch "$sample" --input "port=$sample_port")
    ! "$megam" --endpoints "$endpoints" show "$name" >/dev/null 2>&1 || arguments=(start "$name")
    # In the background, so that a signal need not wait for it.
    "$megam" --endpoints "$endpoints" "${arguments[@]}" --wait --wait-timeout "${ready_seconds}s" </dev/null &
    wait $! && return 0
    echo "run: $name does not run yet; see: $megam --endpoints $endpoints show $name" >&2
}

show() {
    local i
    echo
    for i in 0 1 2; do
        echo "  ${names[$i]}  clients http://127.0.0.1:${client_ports[$i]}  peers http://127.0.0.1:${peer_ports[$i]}  pid ${pids[$i]}  log $(log_of "$i")"
    done
    for i in 3 4; do echo "  ${names[$i]}  engine  pid ${pids[$i]}  log $(log_of "$i")"; done
    cat <<END

Three members serve, with an agent each, and two engines. From another terminal, for instance:

  export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=$endpoints
  etcdctl put greeting hello
  etcdctl get greeting
  etcdctl watch --prefix greet
  etcdctl endpoint status --cluster -w table
  $gulpctl --endpoints $endpoints get greeting
  curl http://127.0.0.1:${client_ports[0]}/health

  export MEGAM_ENDPOINTS=$endpoints
  $megam nodes
  $megam list
  $megam show hello
  $megam logs hello -f

(etcdctl is in Debian's package etcd-client.) Ctrl-C stops it all; the data stays in $run_dir.

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
        for i in "${!names[@]}"; do
            if is_running "$i"; then
                [ "$i" -gt 2 ] || alive=$((alive + 1))
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
endpoints=""
for i in 0 1 2; do endpoints+="${endpoints:+,}127.0.0.1:${client_ports[$i]}"; done
for i in 0 1 2; do start_member $i; done
for i in 0 1 2; do wait_until_ready $i; done
for i in 3 4; do start_engine $i; done
show
for i in "${!names[@]}"; do stream_log $i; done
launch_sample
watch_members
