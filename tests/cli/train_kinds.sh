# codebooks, matching pursuit, archetypal decoders: trained, looked at, measured, encoded, indexed, exported; options that belong to others
data=$GLOSS_SOURCE/demo/data
quick="--features 64 --batch 256 --steps 8 --quiet"
train() { gloss train "$data" $quick "$@" 2>&1 || echo "exit $?"; }
plain() { sed 's/ in [0-9.]* s ([^;]*; / (/; s/, kernels .*/)/; s/fvu [0-9.]*/fvu/; s/l0 [0-9.]*/l0/; s/, [0-9]* features dead//'; }
train -o book --arch codebook --k 2 --parts 4 --combine mean --code-norm layer --replace-every 4 | plain
train -o pursuit --arch pursuit --k 5 --repeats --residual 0.5 | plain
train -o points --archetypal 20 --k 4 | plain
for sae in book pursuit points; do
	echo
	gloss inspect $sae | sed 's/, [0-9.]* MB//' | grep -v '^model\|^hook'
	gloss eval $sae "$data" --json --quiet | python3 -c "
import json, sys
m = json.load(sys.stdin)['metrics']
print('eval', 0 < m['fvu'] < 1, 1 < m['l0'] <= 8)"
done
echo
gloss inspect book --json | python3 -c "
import json, sys
s = json.load(sys.stdin)
print(s['groups'], s['similarity'], s['combine'], s['k'])"
gloss encode book "$data" -o codes.npz --quiet >/dev/null && echo encoded
gloss index book "$data" -d a.db --tokenizer "$data/tokenizer.json" --quiet >/dev/null || echo "exit $?"
gloss sql -d a.db "SELECT architecture, k, min(n_fires) >= 0 AS fires FROM source JOIN feature"
gloss export book -o out --to saelens 2>&1 || echo "exit $?"
gloss export book -o out --to sparsify 2>&1 || echo "exit $?"
gloss export pursuit -o out --to sparsify 2>&1 || echo "exit $?"
echo
train -o no --arch codebook --parts 5
gloss train "$data" -o no --features 60 --arch codebook --parts 5 --k 1 --quiet 2>&1 || echo "exit $?"
train -o no --arch codebook --parts 4 --k 17
train -o no --arch codebook --auxk-alpha 0
train -o no --arch codebook --archetypal 5
train -o no --arch codebook --code-decay 0.5
train -o no --arch codebook --optimizer muon
train -o no --arch pursuit --parts 2
train -o no --arch pursuit --k-start 9
train -o no --residual 1
train -o no --similarity cosine
train -o no --archetypal 5 --optimizer-state 8
train -o no --archetypal-delta 2
train -o no --arch codebook --replace-noise 0.1
ls no 2>&1 || :
