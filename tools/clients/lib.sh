# shellcheck shell=bash
# What the client tests share: one scratch directory, one daemon, at most one volume connected to a
# block device, and a trap that takes all of it down again. A test sources this file; it passes when
# it reaches its end, fails on the first command that fails, and exits 77 when the machine cannot run it.
#
# SILT names the command under test (default: the release build of this tree).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SILT=${SILT:-$root/target/release/silt}
# shellcheck disable=SC2034  # used by the tests that source this
here=$root/tools/clients
scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/silt-client.XXXXXX")
data=$scratch/data
mnt=$scratch/mnt
daemon_pid=
via=
attached_name=
nbdfuse_pid=
dev=
helper_pids=()
mkdir "$mnt"

fail() { printf 'FAIL: %s\n' "$*" >&2; exit 1; }
skip() { printf 'SKIP: %s\n' "$*" >&2; exit 77; }

command -v "$SILT" >/dev/null || fail "there is no $SILT: run tools/test build"

# Block devices and mounts need root: become it if that takes no password.
need_root() {
    if [[ $EUID -ne 0 ]]; then
        sudo -n true 2>/dev/null || skip "needs root"
        rm -rf "$scratch"
        trap - EXIT
        exec sudo -n --preserve-env=SILT,TMPDIR,PATH "$0" "$@"
    fi
    [[ -e /dev/fuse && -e /dev/loop-control ]] || skip "no /dev/fuse or no loop devices"
}

# wait_until SECONDS COMMAND...: polls, because none of the clients can tell us when it is ready.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || fail "gave up waiting for: $*"
        sleep 0.02
    done
}

uri() { printf 'nbd+unix:///%s?socket=%s/nbd.sock' "$1" "$data"; }

silt() { "$SILT" "$@" --data "$data"; }

serves() {
    kill -0 "$daemon_pid" 2>/dev/null || fail "the daemon died: $(cat "$scratch/serve.err")"
    nbdinfo --list "nbd+unix:///?socket=$data/nbd.sock" >/dev/null 2>&1
}

# start_daemon [OPTIONS OF serve]: returns once the socket answers.
# shellcheck disable=SC2120
start_daemon() {
    "$SILT" serve --data "$data" --no-tcp "$@" >>"$scratch/serve.out" 2>>"$scratch/serve.err" &
    daemon_pid=$!
    wait_until 30 serves
}

stop_daemon() {
    local status=0
    kill -TERM "$daemon_pid"
    wait "$daemon_pid" || status=$?
    daemon_pid=
    [[ $status -eq 0 ]] || fail "the daemon exited with $status after SIGTERM: $(cat "$scratch/serve.err")"
}

kill_daemon() {
    kill -KILL "$daemon_pid"
    wait "$daemon_pid" 2>/dev/null || true
    daemon_pid=
}

# connect_volume VIA NAME: makes the volume a block device, whose path is then in $dev.
# VIA is nbdfuse (libnbd's FUSE file under a loop device) or attach (our own command).
connect_volume() {
    via=$1 attached_name=$2
    case $via in
    nbdfuse)
        mkdir -p "$scratch/fuse"
        nbdfuse "$scratch/fuse/disk" "$(uri "$2")" 2>>"$scratch/nbdfuse.err" &
        nbdfuse_pid=$!
        wait_until 20 test -e "$scratch/fuse/disk"
        dev=$(losetup --find --show "$scratch/fuse/disk")
        ;;
    attach)
        # By default I/O waits two minutes for a daemon that died. The tests that kill it want what a disk gives that
        # went away: errors, and processes that can be killed.
        dev=$(silt attach --timeout 1 "$2")
        ;;
    *) fail "no such way to connect: $via" ;;
    esac
    [[ -b $dev ]] || fail "$via gave no block device: '$dev'"
}

disconnect_volume() {
    [[ -n $via ]] || return 0
    case $via in
    nbdfuse)
        losetup -d "$dev"
        wait_until 20 unmounts "$scratch/fuse"
        wait "$nbdfuse_pid" || true
        nbdfuse_pid=
        ;;
    attach) silt detach "$attached_name" >/dev/null ;;
    esac
    via=""
    dev=""
}

# Reads the table itself: mountpoint(1) asks the file system, and that may be one whose server is dead.
mounted() { awk -v at="$1" '$2 == at { found = 1 } END { exit !found }' /proc/self/mounts; }

# A loop device lets go of its file a moment after losetup -d, so a first umount may find it busy.
unmounts() { ! mounted "$1" || umount "$1" 2>/dev/null; }

# make_file_system FS: small enough defaults that a test volume of a few hundred MiB will do.
make_file_system() {
    case $1 in
    ext4) mkfs.ext4 -q -F "$dev" ;;
    xfs) mkfs.xfs -q -f "$dev" ;;
    *) fail "no such file system: $1" ;;
    esac
}

# check_file_system FS: strict and without repair; the log has been replayed by a mount before.
check_file_system() {
    case $1 in
    ext4) e2fsck -fn "$dev" >"$scratch/fsck.out" 2>&1 ;;
    xfs) xfs_repair -n "$dev" >"$scratch/fsck.out" 2>&1 ;;
    esac || fail "fsck: $(cat "$scratch/fsck.out")"
}

mount_volume() { mount "$dev" "$mnt"; }

# What a machine does whose disk went away: processes are gone, the file system is dropped, dirty or not.
drop_after_crash() {
    stop_helpers
    wait_until 20 unmounts "$mnt"
    disconnect_volume
}

# run_helper COMMAND...: runs in the background and is ended by stop_helpers.
run_helper() {
    "$@" >>"$scratch/helper.out" 2>>"$scratch/helper.err" &
    helper_pids+=($!)
}

stop_helpers() {
    local pid
    for pid in "${helper_pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    helper_pids=()
}

lines_at_least() { [[ -e $1 ]] && (($(wc -l <"$1") >= $2)); }

# make_image FILE: 192 MiB with binaries, the same binaries again, random bytes off the block grid, and holes.
make_image() {
    truncate -s 192M "$1"
    tar -C /usr -cf - bin lib 2>/dev/null | head -c 40M >"$scratch/content" || true
    dd if="$scratch/content" of="$1" bs=1M conv=notrunc status=none
    dd if="$scratch/content" of="$1" bs=1M seek=96 conv=notrunc status=none
    dd if=/dev/urandom of="$1" bs=1000 count=20000 seek=67200 conv=notrunc status=none
    rm "$scratch/content"
}

# make_authority: its certificate and key are in ca.pem and ca.key.
make_authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=authority" \
        -keyout "$scratch/ca.key" -out "$scratch/ca.pem" 2>/dev/null
}

# certify NAME COMMON_NAME ALTERNATIVE_NAMES: a key and a certificate in the directory NAME, under the names that libnbd
# and qemu look for.
certify() {
    mkdir "$scratch/$1"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \
        -keyout "$scratch/$1/key.pem" -out "$scratch/$1/request.pem" 2>/dev/null
    openssl x509 -req -in "$scratch/$1/request.pem" -CA "$scratch/ca.pem" -CAkey "$scratch/ca.key" -days 2 \
        -extfile <(printf 'subjectAltName=%s\n' "$3") -out "$scratch/$1/cert.pem" 2>/dev/null
    ln -s ../ca.pem "$scratch/$1/ca-cert.pem"
    ln -s cert.pem "$scratch/$1/client-cert.pem"
    ln -s key.pem "$scratch/$1/client-key.pem"
}

# refused COMMAND...: the command must fail, and soon.
refused() {
    local status=0
    timeout 20 "$@" >"$scratch/refused.out" 2>&1 || status=$?
    [[ $status -ne 0 && $status -ne 124 ]] || fail "exit status $status: $*"
}

# What a test has to stop first, whatever state it is in.
before_cleanup() { :; }

cleanup() {
    local status=$?
    set +e
    if ((status != 0 && status != 77)); then
        tail -n 20 "$scratch"/*.err >&2 2>/dev/null
    fi
    before_cleanup
    stop_helpers
    mounted "$mnt" && umount -l "$mnt"
    if [[ $via == nbdfuse ]]; then
        [[ -n $dev ]] && losetup -d "$dev"
        umount -l "$scratch/fuse"
        [[ -n $nbdfuse_pid ]] && kill -KILL "$nbdfuse_pid"
    elif [[ $via == attach ]]; then
        silt detach "$attached_name"
    fi 2>/dev/null
    [[ -n $daemon_pid ]] && kill -KILL "$daemon_pid" 2>/dev/null
    wait
    rm -rf "$scratch"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
