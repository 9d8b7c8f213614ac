# architectures with a sparsity penalty: options of others are refused, a target L0 is sought, and said where it is not met
data=$GLOSS_SOURCE/demo/data
quick="--features 256 --batch 256 --log-every 1 --quiet"
train() { gloss train "$data" $quick "$@" 2>&1 || echo "exit $?"; }
train -o wrong --l1 1
train -o wrong --arch relu --l0 1
train -o wrong --arch gated --k 5
train -o wrong --arch relu --bandwidth 1
train -o wrong --arch relu --penalty tanh
train -o wrong --arch panneal --penalty tanh
train -o wrong --arch jumprelu --penalty lp
train -o wrong --arch jumprelu --tanh-scale 2
train -o wrong --arch gated --preact 1
train -o wrong --arch jumprelu --detach-gate
train -o wrong --arch relu --screening off
train -o wrong --arch relu --target-l0 300
train -o wrong --arch jumprelu --start-l0 300
train -o wrong --arch relu --target-l0 0
for arch in relu panneal gated jumprelu; do
	train -o $arch --arch $arch --steps 150 --target-l0 12 --lr 3e-3 --json | python3 -c "
import json, sys
r = json.load(sys.stdin)
c = json.load(open('$arch/cfg.json'))
t = r['target_l0']
print(r['arch'], 'saved as', c['architecture'], t['target'], 'met' if abs(t['reached'] / 12 - 1) < 0.25 else t['reached'], r['held_out']['fvu'] < 0.9)"
	gloss eval $arch "$data" --json --quiet | python3 -c "
import json, sys
m = json.load(sys.stdin)['metrics']
print('eval', m['fvu'] < 0.9, 9 < m['l0'] < 15)"
done
# the defaults of the penalty follow the scale of the rows, numbers that are given stay
for normalize in mean-square none; do
	for arch in relu panneal gated jumprelu; do
		train -o scaled --force --arch $arch --steps 150 --target-l0 12 --lr 3e-3 --normalize $normalize --json | python3 -c "
import json, sys
m = json.load(sys.stdin)['held_out']
print('$arch $normalize', 9 < m['l0'] < 15, m['fvu'] < 0.9)"
	done
	train -o scaled --force --arch jumprelu --steps 1 --normalize $normalize --bandwidth 0.5 --threshold-lr 20 --penalty tanh --json | python3 -c "
import json, sys
p = json.load(sys.stdin)['plan']
print(p['bandwidth'], p['threshold_lr'], p['tanh_scale'] / 4 == 0.1 / p['threshold'])"
done
# constant coefficients, every penalty; what was in force is in the log
for penalty in step tanh quadratic quadratic-mean; do
	train -o $penalty --arch jumprelu --penalty $penalty --l0 0.5 --steps 4 --sparsity-warmup 2 --preact 0.01 --ste-input >/dev/null
	grep '"step":' $penalty/train.jsonl | sed -n 's/.*"coef":\([^,]*\),.*/\1/p' | tr '\n' ' '
	echo $penalty
done
train -o root --arch panneal --penalty lp-root --l1 0.5 --p-end 0.5 --anneal-from 0.25 --steps 8 | grep -c "last batch"
train -o free --arch gated --decoder free --loss plain --clip 1 --l1 0.5 --steps 8 | grep -c "last batch"
# the best that eight steps can do
train -o far --arch relu --target-l0 2 --start-l0 100 --steps 8 | sed -n 's/: [0-9.]* was reached.*/: .../p'
# of a sweep, each architecture takes the coefficient that is its own: the other seeks the target; after the table, how their steps went
train -o sweep --sweep arch=relu,jumprelu --l1 0.5 --steps 2 |
	grep -oE '^jumprelu: target l0 32 was not met|^(relu|jumprelu): steps by dense tiles: [0-9]+|by lists of what fires: 0$'
# a run gone on with is that run
train -o jumprelu --arch jumprelu --steps 150 --target-l0 12 --lr 3e-3 --resume | tail -1
# many features fire at the beginning, few at the end: which steps went how, also over a resume
phases() {
	python3 -c "
import json, sys
r = json.load(sys.stdin)
p = r['phases']
print({k: v['steps'] > 0 and v['tokens_per_s'] > 0 for k, v in p.items()}, sum(v['steps'] for v in p.values()) == r['last']['step'], r['last']['dense_steps'] == p['dense']['steps'])"
}
long="--arch relu --features 2048 --target-l0 4 --start-l0 300 --lr 3e-3 --json"
train -o phases $long --steps 30 | phases
train -o phases $long --steps 40 --resume --extend | phases
