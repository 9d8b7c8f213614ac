#!/bin/sh
# Training killed at random moments (kill -9), stopped by signals and out of time, with other threads, with disks that fail:
# in the end the files of a run that nothing happened to, byte for byte.
# usage: GLOSS_BIN=gloss GLOSS_SOURCE=folder sh tests/kill.sh [SEED]     the seed chooses the moments; else the clock does
set -eu
gloss=${GLOSS_BIN:?the program}
data=${GLOSS_SOURCE:?the source folder}/demo/data
seed=${1:-$(date +%s)}
tmp=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || :; rm -rf "$tmp"' EXIT
cd "$tmp"
echo "kill: seed $seed"

fail() { echo "kill: $*" >&2; exit 1; }
# moment LEAST SPAN: seconds
moment() { seed=$((seed + 1)); awk -v s="$seed" -v a="$1" -v b="$2" 'BEGIN { srand(s); rand(); print a + b * rand() }'; }
train() { "$gloss" train "$data" "$@" --features 256 --batch 512 --steps 500 --eval-every 40 --quiet; }
one() { train --k 8 "$@"; }
many() { train --sweep k=4,8 --sweep lr=1e-3,3e-3 --checkpoint-every 60 "$@"; }
# what a log says, times left out
plain() { sed -e '/"warning":/d; s/"seconds":[^,}]*//; s/"tokens_per_s":[^,}]*//; s/"options":.*//' "$1"; }
# same A B: two SAE folders
same() {
	cmp "$1/sae_weights.safetensors" "$2/sae_weights.safetensors" || fail "weights of $1 and $2 differ"
	cmp "$1/sparsity.safetensors" "$2/sparsity.safetensors" || fail "sparsity of $1 and $2 differs"
	plain "$1/train.jsonl" >a.log
	plain "$2/train.jsonl" >b.log
	cmp a.log b.log || fail "logs of $1 and $2 differ"
}
# killed COMMAND ARGUMENTS: started in the background and killed at some moment
killed() {
	"$@" >/dev/null 2>>errors &
	pid=$!
	sleep "$(moment 0.05 0.6)"
	pkill -9 -P "$pid" 2>/dev/null || :
	kill -9 "$pid" 2>/dev/null || :
	wait "$pid" 2>/dev/null || :
	pid=
}

one -o whole --threads 2 >/dev/null
one -o single --threads 1 >/dev/null
same whole single
many -o sweep --threads 2 >/dev/null
one -o lone --lr 3e-3 >/dev/null
same lone sweep/k8-lr0.003

for threads in 1 2 1 2 1; do
	killed one -o killed --resume --checkpoint-every 25 --threads $threads
	killed many -o killed_sweep --resume --threads $threads
done
touch killed/train.jsonl.0badcafe.part killed/cfg.json.0badcafe.part # what a kill in a bad moment leaves
one -o killed --resume --threads 2 --checkpoint-every 25 >/dev/null
same whole killed
many -o killed_sweep --resume --threads 2 >/dev/null
for name in k4-lr0.001 k4-lr0.003 k8-lr0.001 k8-lr0.003; do
	same sweep/$name killed_sweep/$name
done
find . -name '*.part' | grep . && fail "temporary files are left"
one -o killed --resume --checkpoint-every 25 | grep -q 'finished already' || fail "a finished run does not say so"

# signals and time: saved, exit 3, a whole SAE there; then on
for stop in INT TERM USR1 time; do
	code=0
	case $stop in
	time) one -o stopped --resume --time-limit 0.3s >/dev/null 2>stop.err || code=$? ;;
	*) timeout --preserve-status -s $stop 0.3 "$gloss" train "$data" --k 8 -o stopped --resume --features 256 --batch 512 \
		--steps 500 --eval-every 40 --quiet >/dev/null 2>stop.err || code=$? ;;
	esac
	[ $code = 3 ] || [ $code = 0 ] || { cat stop.err >&2; fail "$stop: exit $code"; }
	[ $code = 0 ] || [ -s stopped/cfg.json ] || fail "$stop: no SAE"
done
one -o stopped --resume >/dev/null
same whole stopped

# the nth write or sync fails: a periodic checkpoint is a warning, and what is there can always be gone on with
for fault in write:2 write:5 write:9 sync:0 sync:2 sync:5; do
	code=0
	GLOSS_FAULT=$fault one -o faulty --resume --checkpoint-every 100 >/dev/null 2>fault.err || code=$?
	[ $code = 0 ] || [ $code = 1 ] || fail "$fault: exit $code"
	one -o faulty --resume --checkpoint-every 100 >/dev/null 2>&1 || fail "$fault: cannot be resumed"
	same whole faulty
	rm -r faulty
done
# at a stop the checkpoint has to be made
code=0
GLOSS_FAULT=sync:0 one -o unsaved --time-limit 0.2s >/dev/null 2>fault.err || code=$?
[ $code = 1 ] || fail "a stop without a checkpoint: exit $code"
grep -q 'without a checkpoint: ' fault.err || fail "a stop without a checkpoint: $(cat fault.err)"
[ -s unsaved/cfg.json ] || fail "a stop without a checkpoint: no SAE"
echo "kill: all the same"
