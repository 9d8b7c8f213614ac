# two sources compared; the list's numbers are in tests/test_compare.c and test_match.c
data=$GLOSS_SOURCE/demo/data
for seed in 0 1; do
	gloss train "$data" -o s$seed --features 64 --k 8 --batch 256 --steps 8 --seed $seed --quiet >/dev/null 2>&1
	gloss index s$seed "$data" -d a.db --tokenizer "$data/tokenizer.json" --quiet >/dev/null
done
gloss index s0 "$data" -d b.db --source again --tokenizer "$data/tokenizer.json" --quiet >/dev/null
gloss diff s0 again -d a.db --with b.db --limit 2 | sed 's/0\.[0-9]*/x/g; s/  *[0-9]*  x /  n  x /'
gloss diff s0 s1 -d a.db --json | python3 -c "
import json, sys
d = json.load(sys.stdin)
print(sorted(d), d['cosine']['method'], d['common']['contexts'], len(d['features']))
for s in 'ab':
	print(d[s]['source'], sum(d[s]['verdicts'].values()), d[s]['mean_best_firing_cosine'] > d[s]['chance_mean'])"
gloss diff s0 s1 -d a.db --method nearest --side b --only same --limit 0 | head -1 | sed 's/0\.[0-9]*/x/g'
gloss diff s0 -d a.db 2>&1 || echo "exit $?"
gloss diff s0 s0 -d a.db 2>&1 || echo "exit $?"
gloss diff s0 wide -d a.db 2>&1 || echo "exit $?"
gloss diff s0 s1 -d none.db 2>&1 || echo "exit $?"
cp "$data/tokenizer.json" no.db
gloss diff s0 s1 -d a.db --with no.db 2>&1 || echo "exit $?"
gloss diff s0 s1 -d a.db --min-cosine 2 2>&1 || echo "exit $?"
