# what is done to rows before training, and how features start: what is saved takes rows as they are
data=$GLOSS_SOURCE/demo/data
quick="--features 64 --k 4 --batch 256 --steps 60 --log-every 60 --quiet"
train() { gloss train "$data" $quick "$@" 2>&1 || echo "exit $?"; }
fvu() { grep '"held_out"' $1/train.jsonl | sed -n 's/.*"held_out":{[^}]*"fvu":\([0-9.]*\).*/\1/p'; }
train -o wrong --normalize cube
train -o wrong --init-bias left
train -o wrong --encoder-norm 0
train -o wrong --resample 1
train -o wrong --arch codebook --normalize whiten
train -o wrong --arch pursuit --normalize layer
train -o wrong --arch codebook --resample 10
train -o wrong --archetypal 100 --resample 10
for mode in none mean-norm mean-square layer token whiten center; do
	train -o $mode --normalize $mode --lr 3e-3 >/dev/null
	gloss eval $mode "$data" --json --quiet | sed -n 's/.*"fvu":\([0-9.]*\).*/\1/p' >evaluated
	echo "$mode $(sed -n 's/.*"normalize_activations": *"\([a-z_]*\)".*/\1/p' $mode/cfg.json) $(fvu $mode) $(cat evaluated)" |
		awk '{ printf "%s %s %s %s\n", $1, $2, $3 < 1 ? "learnt" : $3, ($3 - $4) ^ 2 < 1e-8 ? "the same" : $3 " " $4 }'
done
train -o again --normalize whiten --lr 3e-3 --steps 30 >/dev/null
train -o again --normalize center --lr 3e-3 --steps 30 --resume
for bias in mean zero median; do
	train -o $bias --init-bias $bias --encoder-norm 1 --resample 10 --auxk-alpha 0 --features 512 --k 2 >/dev/null
	sed -n 's/.*"n_resampled":\([0-9]*\).*/\1/p' $bias/train.jsonl
done
