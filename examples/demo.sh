#!/bin/bash
# The main job in half a minute: one worker per core behind one socket; a crash, a reload, a stop.
#
#   make demo                          (or: examples/demo.sh)
#   GANGER_DEMO=nspawn make demo       one way of: systemd, nspawn, socket-activate, listen
#   PROFILE=release make demo          the optimised build
#
# The worker is examples/hello.rs. Needs bash and what built ganger; with root, real systemd.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then DEMO_COLOR=${DEMO_COLOR:-yes}; fi
if [ "${DEMO_COLOR:-}" = yes ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' plain=''
fi
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
note() { printf '  %s%s%s\n' "$dim" "$*" "$plain"; }
good() { printf '  %s✓%s %s\n' "$green" "$plain" "$*"; }
fail() { printf '  %s✗ %s%s\n' "$red" "$*" "$plain"; explain; exit 1; }
# What there is to read after a failure.
explain() { [ ! -s "${work:-}/log" ] || tail -n 20 "$work/log"; }
# "3.7 ms" between two values of EPOCHREALTIME without its dot.
span() { printf '%d.%d ms\n' $((($2 - $1) / 1000)) $((($2 - $1) / 100 % 10)); }
ran() { printf '  %s$ %s%s\n' "$dim" "$*" "$plain"; "$@"; }

# ------------------------------------------------------------------------------------------------- asking

# One request on a connection of its own; the answer's text. Plain bash, so that nothing needs curl.
ask() {
    local line
    exec 5<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf 'GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n' >&5
    while read -r -t 20 line <&5; do
        case $line in hello*) exec 5>&-; printf '%s\n' "$line"; return 0 ;; esac
    done
    exec 5>&-
    return 1
} 2>/dev/null

# "worker:pid" of the worker that answered.
who() {
    local answer
    answer=$(ask) || return 1
    [[ $answer =~ worker\ ([0-9]+),\ pid\ ([0-9]+) ]] || return 1
    printf '%s:%s\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
}

# Asks until every worker has answered with a pid that is not in $1 (a list of old ones); fills pids[].
declare -A pids=()
everyone() {
    local old=" $1 " answer asked=0 failed=0
    pids=()
    while [ "${#pids[@]}" -lt "$workers" ]; do
        [ "$asked" -lt 20000 ] || fail "only ${#pids[@]} of $workers workers answered"
        asked=$((asked + 1))
        if ! answer=$(who); then
            failed=$((failed + 1))
            [ "$failed" -lt 20 ] || fail "requests are not answered"
            continue
        fi
        case $old in *" ${answer#*:} "*) continue ;; esac
        pids[${answer%:*}]=${answer#*:}
    done
    [ "$failed" = 0 ] || fail "$failed of $asked requests were lost"
}

show_everyone() {
    local slot
    for slot in $(printf '%s\n' "${!pids[@]}" | sort -n | head -n 8); do
        good "hello from worker $slot, pid ${pids[$slot]}"
    done
    [ "$workers" -le 8 ] || note "… and $((workers - 8)) more"
}

# Requests without a pause until the file named by $1 appears; "answered lost" goes into $1.count.
load() {
    local answered=0 lost=0
    while [ ! -e "$1" ]; do
        if who >/dev/null; then answered=$((answered + 1)); else lost=$((lost + 1)); fi
    done
    echo "$answered $lost" >"$1.count"
}

# ------------------------------------------------------------------------------------------------- the show

# Needs: port, workers, work, and for this way start_it, reload_it, stop_it.
show() {
    local slot old seen answered lost begun ended

    title "1. A socket first, workers behind it"
    start_it
    begun=${EPOCHREALTIME/./}
    ask >/dev/null || fail "the first request was not answered"
    ended=${EPOCHREALTIME/./}
    good "the first request was answered after $(span "$begun" "$ended")"

    title "2. Every worker answers on the same port, $port"
    everyone ""
    show_everyone

    title "3. A worker is killed"
    slot=0 old=${pids[0]}
    everyone_before="${pids[*]}"
    ran kill -KILL "$old"
    begun=${EPOCHREALTIME/./}
    everyone "$old"
    ended=${EPOCHREALTIME/./}
    good "worker $slot is back as pid ${pids[0]}; all $workers had answered again $(span "$begun" "$ended") later"
    for slot in "${!pids[@]}"; do
        [ "$slot" = 0 ] || case " $everyone_before " in *" ${pids[$slot]} "*) ;; *) fail "worker $slot changed as well" ;; esac
    done
    [ "$workers" = 1 ] || good "its siblings did not notice"

    title "4. A reload under load: each worker is replaced, a new one first"
    seen="${pids[*]}"
    load "$work/enough" & local load=$!
    reload_it
    everyone "$seen"
    touch "$work/enough"
    wait "$load"
    read -r answered lost <"$work/enough.count"
    show_everyone
    [ "$lost" = 0 ] || fail "$lost of $((answered + lost)) requests were lost"
    good "$answered requests meanwhile, none lost"

    title "5. Stop"
    seen="$seen ${pids[*]}"
    stop_it
    for old in $seen; do
        [ ! -e "/proc/$old" ] || fail "process $old is left over"
    done
    good "no process is left"
}

summary() {
    printf '\n%sAll of it worked.%s One port, %s worker%s (one per core), %s.\n' \
        "$green$bold" "$plain" "$workers" "$([ "$workers" = 1 ] || echo s)" "$way_text"
    printf 'Next: put your own program behind a socket. README.md says how; examples/ has it in seven languages.\n'
}

# ------------------------------------------------------------------------------------- the four ways to start

# The unit pair of the show; units/ has the commented one.
write_units() {
    cat >"$1/ganger-demo.socket" <<UNIT
[Unit]
Description=ganger demo (socket)
[Socket]
ListenStream=127.0.0.1:$port
FileDescriptorName=web
TriggerLimitIntervalSec=0
UNIT
    cat >"$1/ganger-demo.service" <<UNIT
[Unit]
Description=ganger demo (worker pool)
Requires=ganger-demo.socket
After=ganger-demo.socket
StartLimitIntervalSec=0
[Service]
Type=notify
NotifyAccess=main
ExecStart=$2/ganger run $2/demo.toml
ExecReload=$2/ganger reload --wait demo
NonBlocking=yes
RuntimeDirectory=ganger/demo
RuntimeDirectoryPreserve=restart
Restart=always
RestartSec=100ms
KillMode=mixed
OOMPolicy=continue
WatchdogSec=30
Delegate=yes
UNIT
}

# Where systemd is PID 1 and ganger-demo.* are known to it.
with_systemctl() {
    explain() { journalctl --no-pager -n 30 -u ganger-demo.service -u ganger-demo.socket; }
    start_it() {
        ran systemctl start ganger-demo.socket || fail "the socket did not start"
        [ "$(systemctl is-active ganger-demo.service)" != active ] || fail "the service runs too early"
        good "port $port is open, and no worker runs yet: the first request starts them"
    }
    reload_it() {
        note "before: $(systemctl show -P StatusText ganger-demo.service)"
        ran systemctl reload ganger-demo.service || fail "the reload failed"
        note "after:  $(systemctl show -P StatusText ganger-demo.service)"
    }
    stop_it() {
        ran systemctl stop ganger-demo.socket ganger-demo.service || fail "the stop failed"
        [ "$(systemctl show -P Result ganger-demo.service)" = success ] || fail "the service ended badly"
    }
    show
}

by_systemd() {
    way_text="started by this machine's systemd"
    port=$(free_port)
    # Left-overs go away however this ends.
    # shellcheck disable=SC2317 # called by the trap
    forget_units() {
        systemctl stop ganger-demo.socket ganger-demo.service
        rm -f /run/systemd/system/ganger-demo.socket /run/systemd/system/ganger-demo.service
        systemctl daemon-reload
        rm -rf "$work" "$run"
    } 2>/dev/null
    trap forget_units EXIT
    write_units /run/systemd/system "$work"
    systemctl daemon-reload
    with_systemctl
}

by_nspawn() {
    way_text="started by a systemd booted for this demo in a container of this machine's own /usr"
    local group machine=ganger-demo-$$ tree status reader
    port=8080
    mkdir "$work/units"
    write_units "$work/units" /demo
    cat >"$work/units/demo.service" <<'UNIT'
[Unit]
Description=the demo
[Service]
Type=oneshot
StandardOutput=append:/demo/output
StandardError=append:/demo/output
EnvironmentFile=/demo/environment
ExecStart=/bin/bash -c '/bin/bash /demo/demo.sh --inside; status=$?; touch /demo/done; systemctl --no-block exit $status'
UNIT
    printf 'port=%s\nworkers=%s\nwork=/demo\nDEMO_COLOR=%s\n' "$port" "$workers" "${DEMO_COLOR:-}" >"$work/environment"
    : >"$work/output"
    # Containers that share a control group would manage each other's services.
    group=()
    for tree in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup; do
        if [ -f "$tree/cgroup.procs" ] && mkdir "$tree/$machine" 2>/dev/null; then group+=("$tree/$machine"); fi
    done
    tail -n +1 -F --pid=$$ "$work/output" 2>/dev/null & reader=$!
    (
        for tree in "${group[@]}"; do echo "$BASHPID" >"$tree/cgroup.procs"; done
        SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec timeout --foreground 300 systemd-nspawn -q --directory=/ --volatile=yes \
            --machine="$machine" --register=no --keep-unit --private-network --bind="$work:/demo" \
            --bind-ro="$work/units:/etc/systemd/system" --boot -- systemd.unit=demo.service systemd.firstboot=0
    ) </dev/null >"$work/console" 2>&1
    status=$?
    sleep 0.3 # the reader shows the last lines
    kill "$reader" 2>/dev/null
    for tree in "${group[@]}"; do find "$tree" -depth -type d -exec rmdir {} + 2>/dev/null; done
    if [ ! -e "$work/done" ]; then
        [ -s "$work/output" ] && fail "the container ended in the middle of the demo"
        return 2
    fi
    [ "$status" = 0 ] || exit 1
}

# Both ways without a service manager: a process of this shell's, steered by signals.
with_signals() {
    reload_it() { ran kill -HUP "$supervisor"; }
    stop_it() {
        local status=0
        ran kill -TERM "$supervisor"
        wait "$supervisor" || status=$?
        [ "$status" = 0 ] || fail "ganger ended with exit status $status"
        good "ganger ended with exit status 0"
        supervisor=
    }
    supervisor=
    trap '[ -z "$supervisor" ] || kill -TERM "$supervisor" 2>/dev/null; rm -rf "$work" "$run"' EXIT
    show
}

by_socket_activate() {
    way_text="started by systemd-socket-activate, systemd's tool for trying such sockets"
    port=$(free_port)
    start_it() {
        printf '  %s$ systemd-socket-activate --listen=127.0.0.1:%s --fdname=web ganger run demo.toml%s\n' "$dim" "$port" "$plain"
        RUNTIME_DIRECTORY=$run/ganger/demo systemd-socket-activate --listen="127.0.0.1:$port" --fdname=web \
            -E RUNTIME_DIRECTORY "$work/ganger" run "$work/demo.toml" >"$work/log" 2>&1 &
        supervisor=$!
        until grep -q 'Listening on' "$work/log"; do
            kill -0 "$supervisor" 2>/dev/null || fail "systemd-socket-activate did not start: $(cat "$work/log")"
            sleep 0.02
        done
        good "port $port is open, and nothing else runs yet: the first request starts ganger"
    }
    with_signals
}

by_listen() {
    way_text="on a socket of ganger's own (with systemd, the socket would be systemd's)"
    port=
    start_it() {
        printf '  %s$ ganger run demo.toml --listen 127.0.0.1:0%s\n' "$dim" "$plain"
        RUNTIME_DIRECTORY=$run/ganger/demo "$work/ganger" run "$work/demo.toml" --listen 127.0.0.1:0 >"$work/log" 2>&1 &
        supervisor=$!
        until port=$(grep -o '127\.0\.0\.1:[1-9][0-9]*' "$work/log" | head -n 1) && [ -n "$port" ]; do
            kill -0 "$supervisor" 2>/dev/null || fail "ganger did not start: $(cat "$work/log")"
            sleep 0.02
        done
        port=${port##*:}
        good "ganger listens on port $port"
    }
    with_signals
}

free_port() {
    local candidate
    for candidate in {8530..8629}; do
        if ! (: <>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null; then echo "$candidate"; return; fi
    done
    fail "ports 8530 to 8629 are all in use"
}

# --------------------------------------------------------------------------------------------- which way

if [ "${1:-}" = --inside ]; then
    with_systemctl
    exit 0
fi

title "Building"
cd "$here/.." || exit 1
profile=${PROFILE:-dev}
ran "${CARGO:-cargo}" build --quiet --profile "$profile" --bin ganger --example hello || fail "the build failed"
built=${CARGO_TARGET_DIR:-target}/$([ "$profile" = dev ] && echo debug || echo "$profile")

# systemd's mount options forbid programs in some temporary directories; beside the build is always fine.
mkdir -p "$built/demo"
work=$(mktemp -d "$PWD/${built#"$PWD/"}/demo/XXXXXX") || exit 1
chmod 755 "$work"
run=$(mktemp -d) && mkdir -p "$run/ganger/demo" || exit 1
trap 'rm -rf "$work" "$run"' EXIT
cp "$built/ganger" "$built/examples/hello" "$here/demo.sh" "$work/"
workers=$(getconf _NPROCESSORS_ONLN)

may_boot() { [ "$(id -u)" = 0 ] && command -v systemd-nspawn >/dev/null && [ -x /usr/lib/systemd/systemd ]; }
if [ -n "${GANGER_DEMO:-}" ]; then ways=$GANGER_DEMO
elif [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ]; then ways="systemd socket-activate listen"
elif may_boot; then ways="nspawn socket-activate listen"
elif command -v systemd-socket-activate >/dev/null; then ways="socket-activate"
else ways="listen"
fi

for way in $ways; do
    dir=$work
    [ "$way" != nspawn ] || dir=/demo
    cat >"$work/demo.toml" <<TOML
command = ["$dir/hello"]
workers = $workers
[ready]
when = "notify"
[restart]
min-uptime = "50ms" # the demo kills a young worker; that is no crash loop
[reload]
bake = "50ms"
TOML
    status=0
    case $way in
    systemd)
        title "Way: real units in this machine's systemd ($(systemctl --version | head -n 1))"
        by_systemd || status=$?
        ;;
    nspawn)
        title "Way: systemd booted in a container for the demo ($(/usr/lib/systemd/systemd --version | head -n 1))"
        by_nspawn || status=$?
        ;;
    socket-activate)
        title "Way: systemd-socket-activate (run as root, the demo uses real systemd)"
        by_socket_activate || status=$?
        ;;
    listen)
        title "Way: a socket of ganger's own (no systemd here)"
        by_listen || status=$?
        ;;
    *) fail "GANGER_DEMO is one of: systemd, nspawn, socket-activate, listen" ;;
    esac
    if [ "$status" = 2 ]; then
        note "systemd could not be booted here: $(tail -n 1 "$work/console" 2>/dev/null)"
        continue
    fi
    [ "$status" = 0 ] || exit 1
    summary
    exit 0
done
fail "no way worked"
