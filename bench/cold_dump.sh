#!/bin/sh
# Trains from a dump several times the memory that training may use, with an empty page cache, in a cgroup, and compares its
# speed with the same run on the same dump from memory, without a limit. Both start at the same rows; the pass over all rows
# that comes before the first step is not in the speeds.
# usage: sh bench/cold_dump.sh       as root, on Linux with memory cgroups of version 1 or 2
#   GLOSS_DATA  dump whose rows are multiplied (default: the demo's)   BYTES  of the large dump (4294967296)
#   LIMIT       of the cgroup in bytes (1073741824)                    WORK   folder with room for the dump (TMPDIR or /tmp)
#   TRAIN       options of both runs (-F 4608 -k 32 --tokens 1M)       BUILD  (build/release)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$root/build/release}
bytes=${BYTES:-4294967296}
limit=${LIMIT:-1073741824}
train=${TRAIN:--F 4608 -k 32 --tokens 1M}
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/gloss-cold.XXXXXX")
test "$(id -u)" = 0 || { echo "cold_dump: only root can make a cgroup and empty the page cache" >&2; exit 1; }
if [ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then
	group=/sys/fs/cgroup/memory/gloss-cold.$$ file=memory.limit_in_bytes
elif [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	group=/sys/fs/cgroup/gloss-cold.$$ file=memory.max
else
	echo "cold_dump: there is no memory cgroup here" >&2
	exit 1
fi
trap 'rm -rf "$work"; if [ -d "$group" ]; then rmdir "$group"; fi' EXIT INT TERM

# What a run tells in its last JSON line: tokens, seconds, FVU of the last batch, peak.
numbers() {
	tr ',{}' '\n\n\n' <"$1" | awk -F: '
		$1 == "\"tokens\"" { tokens = $2 } $1 == "\"seconds\"" { seconds = $2 } $1 == "\"fvu\"" { fvu = $2 }
		$1 == "\"peak\"" { peak = $2 } $1 == "\"forecast\"" { forecast = $2 }
		END { printf "%.0f tokens/s (%d tokens in %.1f s), FVU of the last batch %.4f, forecast %.0f MiB, most resident %.0f MiB\n", \
			tokens / seconds, tokens, seconds, fvu, forecast / 1048576, peak / 1048576 }'
}

echo "making $bytes bytes of distinct rows in $work"
"$build/bench_distinct" "${GLOSS_DATA:-$root/demo/data}" "$work/dump" "$bytes"
sync

cat "$work"/dump/*.safetensors >/dev/null
# shellcheck disable=SC2086 # several options
"$build/gloss" train "$work/dump" -o "$work/warm" $train --holdout 0 --checkpoint-minutes 0 --json --quiet >"$work/warm.json"
printf 'from memory, no limit:  '
numbers "$work/warm.json"

echo 3 >/proc/sys/vm/drop_caches
start=$(date +%s%N)
cat "$work"/dump/acts-00000.safetensors >/dev/null
end=$(date +%s%N)
size=$(stat -c %s "$work/dump/acts-00000.safetensors")
echo "the disk, one file in order: $((size * 1000 / (end - start))) MB/s"
echo 3 >/proc/sys/vm/drop_caches
mkdir "$group"
echo "$limit" >"$group/$file"
# shellcheck disable=SC2086
(
	echo 0 >"$group/cgroup.procs"
	exec "$build/gloss" train "$work/dump" -o "$work/cold" $train --holdout 0 --checkpoint-minutes 0 --json --quiet
) >"$work/cold.json"
printf 'cold, limit %s MiB:   ' $((limit / 1048576))
numbers "$work/cold.json"
if [ -e "$group/memory.oom_control" ]; then
	grep oom_kill "$group/memory.oom_control" | tail -1
	echo "most charged to the cgroup, page cache included: $(cat "$group/memory.max_usage_in_bytes") bytes"
else
	grep oom_kill "$group/memory.events" | head -1
fi
cmp "$work/warm/sae_weights.safetensors" "$work/cold/sae_weights.safetensors" && echo "same weights, bit for bit"
