# what --resume takes and refuses, a run that grows, a sweep, early stopping
data=$GLOSS_SOURCE/demo/data
quick="--features 64 --k 4 --batch 256 --log-every 1 --quiet"
train() { gloss train "$data" $quick "$@" 2>&1 || echo "exit $?"; }
weights() { sed -n 's/.*"weights_sha256":"\([0-9a-f]\{8\}\).*/\1/p'; }
train -o sae --steps 6 --resume --json | weights >fresh
train -o sae --steps 6 --resume
train -o sae --steps 6 --resume --json | sed 's/"saes".*"steps":6.*"held_out":{"rows":2040.*"dir"/... "dir"/'
train -o sae --steps 6 --resume --threads 1 --eval-every 2
train -o sae --steps 7 --resume
train -o sae --tokens 6k --resume --batch 128 --lr 1 --seed 2 --decay 0.5
train -o sae --steps 6 --resume --holdout 0.5
train -o sae --steps 3 --resume --extend
train -o sae --steps 8 --resume --extend --json | weights >longer
cmp -s fresh longer || echo "trained on"
grep -c '"step":' sae/train.jsonl
# one at a time; other kernels
gloss train "$data" $quick -o locked --steps 100000000 --time-limit 60s 2>/dev/null &
pid=$!
while [ ! -s locked/train.jsonl ]; do sleep 0.05; done
train -o locked --steps 9 --resume
kill $pid
wait $pid
echo "exit $?"
cp -r sae other
rm other/cfg.json
train -o other --steps 8 --resume --kernels scalar | sed 's/^\(gloss.*:\) .*kernels.*$/\1 kernels/; s/^other: .*//; /rows\|fvu/d'
# another dump, and the same one with more rows
mkdir more
cp "$data"/acts-00000* more
gloss train more -o grown $quick --steps 4 >/dev/null || echo "exit $?"
cp "$data"/acts-00001* more
gloss train more -o grown $quick --steps 4 --resume 2>&1 || echo "exit $?"
rm grown/cfg.json # as if killed before that
gloss train more -o grown $quick --steps 4 --resume 2>&1 || echo "exit $?"
gloss train more -o grown $quick --resume --extend --json 2>&1 | sed 's/.*\("plan":{"steps":[0-9]*\).*\("resumed_at":[0-9]*\).*/\1 \2/'
gloss train more -o grown $quick --resume --extend --json 2>&1 | sed 's/.*\("plan":{"steps":[0-9]*\).*\("resumed_at":[0-9]*\).*/\1 \2/'
gloss train more -o grown $quick --resume 2>&1
rm more/acts-00001*
gloss train more -o grown $quick --resume --extend 2>&1 || echo "exit $?"
# a sweep
sweep="-o sweep --steps 6 --features 64 --batch 256 --quiet"
gloss train "$data" $sweep --sweep k=2,4 --sweep seed=0,1 | sed 's/in .*//; s/  *[0-9]*  sweep/ sweep/; s/0\.[0-9]\{4\} /fvu /g; s/dead  *tok/dead  tok/'
gloss train "$data" -o lone --steps 6 --features 64 --batch 256 --quiet --k 2 --seed 1 >/dev/null
cmp lone/sae_weights.safetensors sweep/k2-seed1/sae_weights.safetensors && ls sweep sweep/k2-seed1
grep -o '[^>]*, held out<' sweep/pareto.svg && grep -c '<title>k[24]-seed[01]: L0 [24], ' sweep/pareto.svg
mkdir -p wall/pareto.svg # a picture that cannot be written is only a warning
gloss train "$data" -o wall --steps 2 --features 64 --batch 256 --quiet --json --sweep k=2,4 2>&1 >json; echo "exit $?"
grep -o '"pareto":null' json
gloss train "$data" $sweep --sweep k=2,4 --sweep seed=0,1 --resume
gloss train "$data" $sweep --sweep k=2,4,8 --sweep seed=0,1 --resume 2>&1 || echo "exit $?"
gloss train "$data" $sweep 2>&1 || echo "exit $?"
# early: the second measurement cannot be better than the first where nothing is learnt
train -o early --steps 20 --lr 1e-30 --eval-every 2 --patience 2 | sed 's/, [0-9]* tokens in.*//; s/0\.[0-9]\{4\},/fvu,/'
tail -n 1 early/train.jsonl | sed 's/"held_out.*"end/"end/'
train -o early --steps 20 --lr 1e-30 --eval-every 2 --patience 2 --resume
printf 'x' | dd of=sae/checkpoint/state.safetensors bs=1 seek=8 conv=notrunc 2>/dev/null
rm sae/cfg.json
train -o sae --steps 8 --resume
