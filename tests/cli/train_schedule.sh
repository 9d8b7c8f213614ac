# schedules, k that falls, optimisers: what is in force is in the log, wrong combinations are refused, and an infinite run is extended
# from before its anneal
data=$GLOSS_SOURCE/demo/data
quick="--features 64 --k 4 --batch 256 --log-every 1 --quiet"
train() { gloss train "$data" $quick "$@" 2>&1 || echo "exit $?"; }
logged() { grep '"step":' $2 | sed -n 's/.*"'$1'":\([^,]*\),.*/\1/p' | awk '{ printf "%.4g ", $1 } END { print "" }'; }
train -o wrong --sparsity-warmup 5
train -o wrong --cooldown 5
train -o wrong --schedule constant --decay 0.5
train -o wrong --optimizer adamw --momentum 0.5
train -o wrong --k-anneal 5
train -o wrong --k-shape power
train -o wrong --k-start 2
train -o wrong --k-power 2 --k-start 8
train -o wrong --arch groupmax --k-start 8
train -o wrong --optimizer-state 8 --clip 1
train -o wrong --optimizer signum --average 0.9
train -o wrong --schedule infinite --lr-floor 0.5
train -o wrong --lr-floor 2
# warm-ups that are late, where there are none; a preset may have that
train -o wrong --steps 40 --optimizer signum --schedule constant --warmup-late
relu() { gloss train "$data" --features 64 --batch 256 --quiet --warmup 0 "$@" 2>&1 || echo "exit $?"; }
relu -o wrong --steps 40 --arch relu --sparsity-warmup 0 --warmup-late
train -o wrong --steps 19 --warmup-late
relu -o late --steps 2 --arch relu --sparsity-warmup 1 --warmup-late | grep -c "last batch"
relu -o late --force --steps 2 --preset dictionary-learning-relu --sparsity-warmup 0 | grep -c "last batch"
for schedule in constant linear cosine; do
	train -o $schedule --steps 8 --lr 1e-3 --warmup 2 --schedule $schedule >/dev/null
	logged lr $schedule/train.jsonl
done
train -o falling --steps 6 --k-start 10 --k-anneal 3 --lr 1e-3 >/dev/null
logged k falling/train.jsonl
logged l0 falling/train.jsonl
for optimizer in adamw signum muon; do
	train -o $optimizer --steps 6 --optimizer $optimizer --clip 1 >/dev/null
	cp -r $optimizer again
	train -o again --steps 6 --optimizer $optimizer --clip 1 --resume | sed 's/again/'$optimizer'/'
	train -o again --steps 6 --optimizer $optimizer --resume
	rm -r again
done
# a short infinite run; then as if it had been asked for 20 steps from the start
infinite="--schedule infinite --warmup 2 --cooldown 4 --lr 1e-3"
train -o short $infinite --steps 10 >/dev/null
logged lr short/train.jsonl
train -o short $infinite --steps 20 --resume
train -o short $infinite --steps 20 --resume --extend --json | sed 's/.*\("resumed_at":[0-9]*\).*/\1/'
logged lr short/train.jsonl
train -o long $infinite --steps 20 >/dev/null
cmp long/sae_weights.safetensors short/sae_weights.safetensors && echo "as if asked for at once"
# a copy of what was kept, annealed at once; and a run that has lost it
mkdir branch
cp -r long/checkpoint/constant/checkpoint branch
train -o branch $infinite --steps 18 --resume --extend >/dev/null
logged lr branch/train.jsonl
rm -r long/checkpoint/constant
train -o long $infinite --steps 30 --resume --extend
