# What this device is, as sections of raw text. POSIX sh; a thing that is missing is an empty section.
# EDGEPRUNE_ROOT is put before every path of the system; NEAR is a folder on the disk that is asked for.
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/cuda/bin
root=${EDGEPRUNE_ROOT:-}

section() { printf '\n@@ %s\n' "$1"; }
text() { if [ -r "$1" ]; then tr '\0' '\n' <"$1" 2>/dev/null; fi; }
# Some tools of a device hang when its drivers do.
within() { limit_s=$1; shift; if command -v timeout >/dev/null 2>&1; then timeout "$limit_s" "$@"; else "$@"; fi </dev/null; }
brief() { within 30 "$@"; }
find_trtexec() {
  for found in "$(command -v trtexec)" "$root/usr/src/tensorrt/bin/trtexec" "$root"/opt/*ensor*/bin/trtexec; do
    if [ -n "$found" ] && [ -x "$found" ]; then printf '%s\n' "$found"; return; fi
  done
}

section hostname; uname -n
section machine; uname -m
section kernel; uname -r
section os; text "$root/etc/os-release"
section replay; text "$root/etc/edgeprune-replay"
section cpus; getconf _NPROCESSORS_ONLN 2>/dev/null || grep -c '^processor' /proc/cpuinfo
section memory; text "$root/proc/meminfo" | grep '^MemTotal'
section disk; df -Pk "${NEAR:-.}" 2>/dev/null
section clock; date +%s
section boot; text /proc/sys/kernel/random/boot_id
section model; text "$root/proc/device-tree/model"; echo
section compatible; text "$root/proc/device-tree/compatible"
section dts; text "$root/proc/device-tree/nvidia,dtsfilename"; echo
section boot_control; text "$root/etc/nv_boot_control.conf"
section tegra_release; text "$root/etc/nv_tegra_release"
section packages
if command -v dpkg-query >/dev/null 2>&1; then
  # shellcheck disable=SC2016 # the braces are dpkg-query's
  dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' 'libnvinfer[0-9]*' libnvinfer-bin tensorrt \
    nvidia-l4t-core nvidia-jetpack 'cuda-cudart-[0-9]*' 'libcudnn[0-9]*' 2>/dev/null
fi
section cuda; text "$root/usr/local/cuda/version.json"; text "$root/usr/local/cuda/version.txt"
section trtexec
trtexec=$(find_trtexec)
if [ -n "$trtexec" ]; then
  said=${TMPDIR:-/tmp}/edgeprune-probe.$$
  # To a file: trtexec is killed by a pipe that closes early.
  (umask 077 && brief "$trtexec" --help >"$said" 2>&1)
  printf 'path %s\n' "$trtexec"
  grep 'TensorRT v[0-9]' "$said"
  grep -i 'error while loading\|cannot execute\|exec format' "$said"
  rm -f "$said"
fi
section nvpmodel; if command -v nvpmodel >/dev/null 2>&1; then brief nvpmodel -q 2>&1; fi
section nvpmodel_conf; text "$root/etc/nvpmodel.conf" | grep 'POWER_MODEL\|PM_CONFIG'
section nvpmodel_status; text "$root/var/lib/nvpmodel/status"
section gpu
for folder in "$root"/sys/class/devfreq/*gpu* "$root"/sys/class/devfreq/*.ga10b "$root"/sys/class/devfreq/*.gv11b \
  "$root"/sys/class/devfreq/*.gp10b; do
  if [ -r "$folder/cur_freq" ]; then
    echo "$(text "$folder/min_freq") $(text "$folder/cur_freq") $(text "$folder/max_freq") ${folder##*/}"
  fi
done
section nvidia_smi
if command -v nvidia-smi >/dev/null 2>&1; then
  brief nvidia-smi --query-gpu=compute_cap,name,driver_version,memory.total --format=csv,noheader 2>&1
fi
section tegrastats; command -v tegrastats
section governor; cat "$root"/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor 2>/dev/null
section python
if command -v python3 >/dev/null 2>&1; then
  printf 'path %s\n' "$(command -v python3)"
  # On a busy device with a slow disk the first import takes its time.
  within 90 python3 -u -c 'import platform
print("python", platform.python_version())
for name in ("numpy", "onnxruntime"):
    try:
        print(name, __import__(name).__version__)
    except Exception as error:
        print("no", name, type(error).__name__)' 2>/dev/null
  if [ $? = 124 ]; then echo silent; fi
fi
section sudo
if command -v sudo >/dev/null 2>&1; then
  if sudo -n true </dev/null >/dev/null 2>&1 || sudo -n -l nvpmodel </dev/null >/dev/null 2>&1; then echo yes; fi
fi
section user; id -un 2>/dev/null
section end
exit 0
