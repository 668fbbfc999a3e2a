#!/bin/sh
# Runs this folder's plan of measurement on the device that it lies on. POSIX sh, and nothing to install.
#
#   sh run.sh         begins, or goes on where it was stopped; leaves ../edgeprune-result-XXXXXXXX.tar
#   sh run.sh again   forgets what was measured here before
#   sh run.sh state   says whether it runs, whether its result is packed, and how far it is
#   sh run.sh stop    ends it, and waits until the power state is restored and the device is free
#
# Ends with 0 done, 1 a step failed, 2 this device is not fit for it, 3 the device is busy, 4 nobody asks any more.
# The environment may set: LEASE_S, seconds after which to stop when the file `lease` does not change; LOCK_WAIT_S, how
# long to wait for others; IDLE_S, how long to look at the idle board; LOOK_S, between two looks at limits;
# EDGEPRUNE_LOCK and EDGEPRUNE_CACHE, folders; EDGEPRUNE_ROOT, put before paths of the system.
# shellcheck disable=SC2024,SC2017 # what sudo prints belongs to this user; a quotient is meant to be whole
set -u
LC_ALL=C
PYTHONDONTWRITEBYTECODE=1
export LC_ALL PYTHONDONTWRITEBYTECODE
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/cuda/bin
umask 022
cd "$(dirname "$0")" || exit 2
. ./settings.sh || exit 2

lock=${EDGEPRUNE_LOCK:-/tmp/edgeprune.lock}
cache=${EDGEPRUNE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/edgeprune}
wait_s=${LOCK_WAIT_S:-1800}
lease_s=${LEASE_S:-0}
short=$(printf %.8s "$BUNDLE_ID")
archive=../edgeprune-result-$short.tar
number=0
steps=0
group=
guardian=

# --- Processes: each is known by its number, its start and the boot it belongs to, so that no other is taken for it.

uptime_s() { sed 's/\..*//' /proc/uptime; }
# Nothing for a process that is dead but still in the table.
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" && $1 != "X" { print $20 }'; }
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
user=$({ id -un 2>/dev/null || id -u; } | tr . _)
identity() { printf '%s' "$1.$(started "$1").$boot.$user.$short"; }
field() { printf '%s' "$1" | cut -d . -f "$2"; }

alive() {
  [ "$(field "$1" 3)" = "$boot" ] || return 1
  process=$(field "$1" 1)
  if [ -r "/proc/$process/stat" ]; then [ "$(started "$process")" = "$(field "$1" 2)" ]; return; fi
  # Where processes of others are hidden, a refused signal still tells that one is there.
  case $(kill -0 "$process" 2>&1) in *ermitted*) return 0 ;; *) return 1 ;; esac
}

# Takes the link $1 for this process if it is free, or its holder is dead.
take() {
  ln -s "$me" "$1" 2>/dev/null && return 0
  there=$(readlink "$1") || return 1
  if alive "$there"; then return 1; fi
  mv "$1" "$1.$$" 2>/dev/null || return 1
  moved=$(readlink "$1.$$")
  rm -f "$1.$$"
  if [ "$moved" != "$there" ]; then ln -s "$moved" "$1" 2>/dev/null; return 1; fi
  ln -s "$me" "$1" 2>/dev/null
}
give_back() { if [ "$(readlink "$1" 2>/dev/null)" = "$me" ]; then rm -f "$1"; fi; }

end_group() {
  kill -TERM "-$1" 2>/dev/null || return 0
  for _ in 1 2 3 4 5; do
    kill -0 "-$1" 2>/dev/null || return 0
    sleep 0.2 2>/dev/null || sleep 1
  done
  kill -KILL "-$1" 2>/dev/null
}

# A step lives in a group of its own. Its number is not given to another process while one of the group is left.
end_leftover() {
  left=$(readlink "$lock/step" 2>/dev/null) || return 0
  if [ "$(field "$left" 3)" = "$boot" ]; then
    process=$(field "$left" 1)
    begun=$(started "$process")
    if [ -z "$begun" ] || [ "$begun" = "$(field "$left" 2)" ]; then kill -KILL "-$process" 2>/dev/null; sleep 1; fi
    if alive "$left"; then return 1; fi
  fi
  rm -f "$lock/step"
}

# --- What is told, and how it ends.

status() {
  mkdir -p result
  printf '%s\n' "$*" >result/status.new && mv result/status.new result/status
  printf 'edgeprune: %s\n' "$*"
}

clean_up() {
  trap '' INT TERM HUP
  trap - EXIT
  if [ -n "$guardian" ]; then kill "$guardian" 2>/dev/null; wait "$guardian" 2>/dev/null; fi
  settle
}
leave() { give_back run.pid; exit "$1"; }

# Ends the step, gives the power state back, frees the device. Also done by the guardian when this shell was killed.
settle() {
  if [ "$(readlink "$lock/held" 2>/dev/null)" = "$me" ]; then
    step_there=$(readlink "$lock/step" 2>/dev/null)
    if [ -n "$step_there" ]; then end_group "$(field "$step_there" 1)"; rm -f "$lock/step"; fi
    restore_power
    give_back "$lock/held"
  fi
  rm -rf now
}

stop() { code=$1; shift; status "stopped $*"; clean_up; leave "$code"; }
refused() { status "refused $*"; clean_up; pack; leave 2; }
failed() { status "failed $*"; clean_up; pack; leave 1; }

# --- Beside the steps: their time limits, the lease, and the end of this shell by force.

guard() {
  lease_seen=
  lease_at=$(uptime_s)
  trap 'kill "$nap" 2>/dev/null; exit' TERM
  while :; do
    sleep "${LOOK_S:-2}" &
    nap=$!
    wait "$nap"
    if ! alive "$me"; then settle; leave 0; fi
    now=$(uptime_s)
    if [ "$lease_s" -gt 0 ]; then
      lease=$(cat lease 2>/dev/null)
      if [ "$lease" != "$lease_seen" ]; then lease_seen=$lease; lease_at=$now; fi
      if [ $((now - lease_at)) -gt "$lease_s" ]; then echo "$lease_s" >now/deserted; kill -TERM "$$"; lease_s=0; fi
    fi
    if read -r late_group deadline 2>/dev/null <now/limit && [ "$now" -ge "$deadline" ]; then
      rm -f now/limit
      : >now/late
      end_group "$late_group"
    fi
  done
}

on_term() {
  if [ -f now/deserted ]; then stop 4 "nobody asked for $(cat now/deserted) s"; fi
  stop 143 by a signal
}

# --- The power state: changed only when the bundle says so, noted before it is, and always given back.

restore_power() {
  note=$cache/restore
  [ -f "$note" ] || return 0
  whole=yes
  while read -r what value; do
    case $what in
      # Locked clocks do not outlive a reboot.
      clocks) if [ "$value" = "$boot" ]; then sudo -n jetson_clocks --restore "$cache/clocks" </dev/null || whole=no; fi ;;
      mode) case $value in *[!0-9]* | '') ;; *) sudo -n nvpmodel -m "$value" </dev/null || whole=no ;; esac ;;
    esac
  done <"$note" >>result/power.log 2>&1
  if [ "$whole" = yes ]; then rm -f "$note" "$cache/clocks"; else echo "edgeprune: could not restore the power state; see $note" >&2; fi
}

facts() { sed -n "/^@@ $1\$/,/^@@ /p" result/facts.txt | sed '/^@@ /d;/^$/d'; }
probe() { NEAR=. sh ./probe.sh >result/facts.new 2>/dev/null </dev/null; mv result/facts.new result/facts.txt; }

mode_now() {
  id=$(facts nvpmodel | sed -n '/NV Power Mode/{n;s/^ *\([0-9][0-9]*\) *$/\1/p;}')
  if [ -z "$id" ]; then id=$(facts nvpmodel_status | sed -n 's/.*pmode:0*\([0-9][0-9]*\).*/\1/p'); fi
  printf '%s' "$id"
}

set_power() {
  if [ -z "$POWER_MODE$LOCK_CLOCKS" ]; then return; fi
  if [ "$(facts sudo)" != yes ]; then refused "the power state cannot be changed: sudo asks for a password here"; fi
  mkdir -p "$cache"
  wanted=
  if [ -n "$POWER_MODE" ]; then
    modes=$(facts nvpmodel_conf | sed -n 's/.*POWER_MODEL.*ID=\([0-9]*\)  *NAME=\([^ >]*\).*/\1 \2/p')
    wanted=$(printf '%s\n' "$modes" | awk -v mode="$POWER_MODE" '$1 == mode || $2 == mode { print $1; exit }')
    if [ -z "$wanted" ]; then
      refused "no power mode is named $POWER_MODE here; there are: $(printf '%s' "$modes" | tr '\n' ',' | sed 's/,/, /g')"
    fi
    before=$(mode_now)
    if [ -z "$before" ]; then refused "the power mode in force cannot be found out, so it could not be restored"; fi
    if [ "$before" = "$wanted" ]; then wanted=; fi
  fi
  # A change of the mode also unlocks clocks that were locked before.
  if [ -n "$LOCK_CLOCKS" ] || { [ -n "$wanted" ] && [ -n "$(facts gpu | awk '$1 == $3')" ]; }; then
    rm -f "$cache/clocks"
    if ! sudo -n jetson_clocks --store "$cache/clocks" </dev/null >>result/power.log 2>&1; then
      refused "the clocks cannot be stored, so they could not be restored: see result/power.log"
    fi
    echo "clocks $boot" >"$cache/restore"
  fi
  if [ -n "$wanted" ]; then
    { echo "mode $before"; cat "$cache/restore" 2>/dev/null; } >"$cache/restore.new"
    mv "$cache/restore.new" "$cache/restore"
    sudo -n nvpmodel -m "$wanted" </dev/null >>result/power.log 2>&1
    probe
    if [ "$(mode_now)" != "$wanted" ]; then
      refused "power mode $POWER_MODE was not taken; it may need a reboot: sudo nvpmodel -m $wanted"
    fi
  fi
  if [ -n "$LOCK_CLOCKS" ]; then
    if ! sudo -n jetson_clocks </dev/null >>result/power.log 2>&1; then refused "the clocks cannot be locked: see result/power.log"; fi
    probe
  fi
}

# --- Whether this device is fit, and which plan is for it.

check_device() {
  machine=$(facts machine)
  if [ -n "$ARCHITECTURE" ] && [ "$machine" != "$ARCHITECTURE" ]; then
    refused "$TARGET needs $ARCHITECTURE; this is $machine"
  fi
  if [ -n "$COMPUTE_CAPABILITY" ]; then
    soc=$({ facts compatible; facts dts; } | sed -n 's/.*\(tegra[0-9][0-9][0-9]\).*/\1/p' | sed -n 1p)
    gpu=$(facts nvidia_smi | sed -n '1s/^\([0-9]*\.[0-9]\),.*/\1/p')
    case " $SOCS " in
      *" ${soc:-none} "*) ;;
      *) if [ "$gpu" != "$COMPUTE_CAPABILITY" ]; then
        refused "$TARGET needs compute capability $COMPUTE_CAPABILITY; this is ${soc:-$(uname -m)}, ${gpu:-unknown}"
      fi ;;
    esac
  fi
  free=$(facts disk | awk 'END { print $4 }')
  if [ "${free:-$NEED_KIB}" -lt "$NEED_KIB" ]; then refused "$free KiB are free on the disk here; $NEED_KIB are needed"; fi
}

check_tool() {
  tool_path=$(facts "${TOOL%3}" | sed -n 's/^path //p')
  if [ -z "$tool_path" ]; then refused "there is no $TOOL here"; fi
  if [ "$TOOL" = trtexec ]; then
    version=$(facts trtexec | sed -n 's/.*\[TensorRT v\([0-9]*\)\].*/\1/p' | sed -n 1p)
    # Up to 8.x the banner counts 8502 for 8.5.2, from 10 on 100300 for 10.3.0.
    if [ -n "$version" ] && [ "$version" -lt 10000 ]; then version=$((version + version / 1000 * 9000)); fi
  else
    version=$(facts python | sed -n 's/^python \([0-9]*\)\.\([0-9]*\)\.\([0-9]*\).*/\1 \2 \3/p' | awk '{ print $1 * 10000 + $2 * 100 + $3 }')
    if [ -n "$(facts python | sed -n '/^silent$/p')" ]; then refused "python3 here does not answer in time; is the device busy?"; fi
    for package in numpy onnxruntime; do
      if [ -z "$(facts python | sed -n "/^$package /p")" ]; then refused "python3 here lacks $package"; fi
    done
  fi
  if [ -z "$version" ]; then refused "$tool_path does not say its version"; fi
  if [ "$version" -lt "$LOWEST" ] || { [ "$BELOW" -gt 0 ] && [ "$version" -ge "$BELOW" ]; }; then
    refused "$TOOL here is of version $version; $TARGET needs at least $LOWEST and less than $BELOW"
  fi
}

choose_plan() {
  plan=
  best=-1
  for file in plan/"$TOOL"-*.sh; do
    since=${file##*-}
    since=${since%.sh}
    if [ "$since" -le "$version" ] && [ "$since" -gt "$best" ]; then plan=$file; best=$since; fi
  done
  if [ -z "$plan" ]; then refused "no plan is for version $version of $TOOL"; fi
  steps=$(grep -c '^step ' "$plan")
}

# --- Steps.

seconds() { awk '{ printf "%s", $1 }' /proc/uptime; }

# What a step's process does before it becomes the command: it names itself, so that it is found whoever is killed.
# shellcheck disable=SC2016 # meant for another shell
first='
ln -s "$$.$(sed "s/.*) //" "/proc/$$/stat" | cut -d " " -f 20).$1" "$2"
if ! kill -0 "$3"; then rm -f "$2"; exit 125; fi
if [ -n "$4" ]; then : >"$5"; "$4" --interval 100 >>"$5" 2>/dev/null & fi
shift 5
exec "$@"
'

# Runs a command in a group of its own: NAME LIMIT_S TELEMETRY COMMAND...
limited() {
  log=result/steps/$1
  limit=$2
  telemetry=$3
  shift 3
  rm -f now/late "$lock/step"
  began=$(seconds)
  tegrastats=
  if [ "$telemetry" = 1 ]; then tegrastats=$(facts tegrastats); fi
  setsid sh -c "$first" sh "$boot.$user.$short" "$lock/step" "$$" "$tegrastats" "$log.tegrastats" "$@" \
    >"$log.log" 2>&1 </dev/null &
  group=$!
  echo "$group $(($(uptime_s) + limit))" >now/limit
  wait "$group"
  rc=$?
  rm -f now/limit
  kill -KILL "-$group" 2>/dev/null # what it left, and tegrastats
  rm -f "$lock/step"
  if [ -f now/late ]; then rc=124; fi
  awk -v began="$began" '{ printf "%.2f\n", $1 - began }' /proc/uptime >"$log.s"
  return "$rc"
}

missing() { for file in "$@"; do if [ ! -s "$file" ]; then printf '%s' "$file"; return; fi; done; }

# What is built here depends on TensorRT, the module and the power mode.
place() {
  facts packages | grep '^libnvinfer'
  facts trtexec | sed -n 's/.*\[\(TensorRT v[0-9]*\)\].*/\1/p'
  facts compatible
  facts dts
  facts boot_control
  facts nvidia_smi
  mode_now
}
timing_key() { { place; echo "$1"; } | sha256sum | cut -d ' ' -f 1; }

# And an engine on its model and the command that builds it, which is $@.
engine_key() {
  {
    place
    shift
    for argument in "$@"; do
      printf '%s\n' "$argument"
      awk -v path="${argument#*=}" '$2 == path { print $1 }' SHA256SUMS
    done
  } | sha256sum | cut -d ' ' -f 1
}

from_cache() {
  stored=$cache/engines/$1
  [ -d "$stored" ] || return 1
  if ! (cd "$stored" && sha256sum -c SHA256SUMS) >/dev/null 2>&1; then rm -rf "$stored"; return 1; fi
  touch "$stored"
  for file in $2; do
    if ! { mkdir -p "$(dirname "$file")" && cp "$stored/$file" "$file"; }; then return 1; fi
  done
}

to_cache() {
  fresh=$cache/engines/.new.$$
  rm -rf "$fresh"
  for file in $2; do
    if ! { mkdir -p "$fresh/$(dirname "$file")" && cp "$file" "$fresh/$file"; }; then rm -rf "$fresh"; return; fi
  done
  # shellcheck disable=SC2086 # names without spaces
  (cd "$fresh" && sha256sum $2 >SHA256SUMS) && rm -rf "${cache:?}/engines/$1" && mv "$fresh" "$cache/engines/$1"
  find "$cache/engines" -mindepth 1 -maxdepth 1 -type d -mtime +60 -exec rm -rf {} +
}

# NAME LIMIT_S TELEMETRY ENGINE FILES_IT_MAKES... -- COMMAND...
step() {
  name=$1
  step_limit=$2
  measured=$3
  engine=$4
  shift 4
  makes=$engine
  while [ "$1" != -- ]; do makes="$makes $1"; shift; done
  shift
  number=$((number + 1))
  files=result/steps/$name
  # shellcheck disable=SC2086 # names without spaces
  if [ "$(cat "$files.rc" 2>/dev/null)" = 0 ] && [ -z "$(missing $makes)" ]; then return; fi
  if [ "$measured" = 1 ] && [ -n "$(facts tegrastats)" ] && [ ! -s result/steps/idle.s ]; then
    limited idle 60 1 sleep "${IDLE_S:-5}" # what the board takes when nothing runs
  fi
  status "running $number of $steps $name"
  # shellcheck disable=SC2086
  rm -f "$files.log" "$files.rc" "$files.s" "$files.tegrastats" "$files.cached" $makes
  timing=
  if [ -n "$engine" ]; then
    key=$(engine_key "$@")
    timing=$(printf '%s\n' "$@" | sed -n 's/^--timingCacheFile=//p')
    if from_cache "$key" "$makes $files.log $files.s"; then echo "$key" >"$files.cached"; note_engine; return; fi
    if [ -n "$timing" ] && [ ! -e "$timing" ]; then from_cache "$(timing_key "$timing")" "$timing"; fi
  fi
  limited "$name" "$step_limit" "$measured" "$@"
  rc=$?
  # shellcheck disable=SC2086
  absent=$(missing $makes)
  sync
  if [ "$rc" = 0 ] && [ -z "$absent" ]; then
    if [ -n "$engine" ]; then to_cache "$key" "$makes $files.log $files.s"; fi
    if [ -n "$timing" ] && [ -s "$timing" ]; then to_cache "$(timing_key "$timing")" "$timing"; fi
    note_engine
    return
  fi
  if [ "$rc" = 0 ]; then rc=1; reason="left no $absent"; else reason="ended with $rc"; fi
  case $rc in
    124) reason="ran longer than $step_limit s" ;;
    126 | 127) reason="cannot be started" ;;
    137) reason="was killed, as when memory runs out" ;;
  esac
  echo "$rc" >"$files.rc"
  failed "$name $rc $reason"
}

note_engine() {
  if [ -n "$engine" ]; then
    sed -i "\\| $engine\$|d" result/engines.txt 2>/dev/null
    echo "$(sha256sum <"$engine" | cut -d ' ' -f 1) $(wc -c <"$engine" | tr -d ' ') $engine" >>result/engines.txt
  fi
  echo 0 >"$files.rc.new" && mv "$files.rc.new" "$files.rc"
}

# --- What is brought back: all but the engines, which are of use here alone.

pack() {
  rm -f result/SHA256SUMS "$archive.part"
  cp bundle.json result/bundle.json
  find result -type f ! -name '*.new' ! -name '*.cache' | sort | awk '
    FILENAME == "result/engines.txt" { engine[$3]; next } !($0 in engine)' result/engines.txt - >.packed
  # shellcheck disable=SC2046 # names without spaces
  sha256sum $(cat .packed) >result/SHA256SUMS
  echo result/SHA256SUMS >>.packed
  if tar cf "$archive.part" -T .packed && mv "$archive.part" "$archive"; then
    rm -f .packed
    printf 'edgeprune: the result is %s\n' "$(cd .. && pwd)/${archive#../}"
  else
    rm -f "$archive.part" .packed
    status "failed pack 1 the result cannot be written: is the disk full?"
    leave 1
  fi
}

# --- The run.

stop_other() {
  other=$(readlink run.pid) || return 0
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    if ! alive "$other"; then break; fi
    kill -TERM "$(field "$other" 1)"
    sleep 1
  done
  # Its guardian, which has outlived it, cleans up.
  if alive "$other"; then kill -KILL "$(field "$other" 1)"; fi
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    if [ ! -L run.pid ]; then return; fi
    sleep 1
  done
}

me=$(identity $$)
case ${1:-} in
  state)
    if alive "$(readlink run.pid)"; then echo alive; else echo still; fi
    if [ -f "$archive" ]; then echo packed; else echo open; fi
    cat result/status 2>/dev/null
    exit 0
    ;;
  stop) stop_other; exit ;;
  again | '') ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
if ! take run.pid; then echo "edgeprune: this bundle is running already: process $(field "$(readlink run.pid)" 1)" >&2; exit 3; fi
trap 'clean_up; give_back run.pid' EXIT
trap 'stop 130 by Ctrl-C' INT
trap 'stop 129 by a lost terminal' HUP
trap on_term TERM
if [ "${1:-}" = again ]; then rm -rf result; fi
rm -rf now "$archive" result/status
mkdir -p now result/steps result/out
: >>result/engines.txt
: >now/none
guard &
guardian=$!

if ! command -v sha256sum >/dev/null || ! command -v setsid >/dev/null; then refused "sha256sum and setsid are needed here"; fi
damaged=$(sha256sum -c SHA256SUMS 2>/dev/null | sed -n '/: OK$/d;p' | sed -n 1p)
if [ -n "$damaged" ]; then refused "the bundle is damaged: $damaged"; fi

if [ ! -d "$lock" ]; then mkdir -m 777 "$lock" 2>/dev/null; fi
waited=0
until take "$lock/held" && { end_leftover || { give_back "$lock/held"; false; }; }; do
  holder=$(readlink "$lock/held" || readlink "$lock/step")
  if [ "$waited" -ge "$wait_s" ]; then
    status "busy the device is held by $(field "$holder" 4)'s run $(field "$holder" 5), process $(field "$holder" 1)"
    clean_up
    leave 3
  fi
  if [ $((waited % 60)) = 0 ]; then
    status "waiting for $(field "$holder" 4)'s run $(field "$holder" 5), process $(field "$holder" 1)"
  fi
  sleep 2
  waited=$((waited + 2))
done

mkdir -p "$cache/engines"
restore_power
probe
check_device
check_tool
choose_plan
set_power
signature="$plan $version $(facts compatible | tr '\n' ' ')$(mode_now)"
if [ -f result/plan.txt ] && [ "$(cat result/plan.txt)" != "$signature" ]; then
  # The device is another than when it began: nothing that was measured then belongs to this.
  mv result/facts.txt now/facts.txt
  rm -rf result
  mkdir -p result/steps result/out
  mv now/facts.txt result/facts.txt
  : >result/engines.txt
fi
echo "$signature" >result/plan.txt
echo "$boot $(date +%s)" >>result/starts.txt
TRTEXEC=$tool_path
PYTHON3=$tool_path
export TRTEXEC PYTHON3
# shellcheck disable=SC1090 # chosen above
. "./$plan"
status "done"
clean_up
pack
give_back run.pid
