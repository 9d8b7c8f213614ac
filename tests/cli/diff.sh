# Two sources compared, by hand-made vectors and firings; then two SAEs trained from other seeds.
sh "$GLOSS_SOURCE/tests/two_sources.sh" t.db
gloss diff small other -d t.db
vector() { # SOURCE FEATURE HALVES
	sqlite3 t.db "INSERT INTO vector VALUES($1, $2, x'$3')"
}
one=003c two=0040 zero=0000 minus=00bc half=0038
for source in 1 2; do # the axes and their opposites; in B 4 and 5 are turned, and 0 is the sum of two of A's
	vector $source 1 $zero$one$zero$zero
	vector $source 2 $zero$zero$two$zero
	vector $source 3 $zero$zero$zero$minus
	vector $source 6 $zero$zero$minus$zero
	vector $source 7 $zero$zero$zero$two
done
vector 1 0 $one$zero$zero$zero
vector 1 4 $minus$zero$zero$zero
vector 1 5 $zero$minus$zero$zero
vector 2 0 $one$one$zero$zero
vector 2 4 $minus$half$zero$zero
vector 2 5 $half$minus$zero$zero
gloss diff small other -d t.db --sort cosine -n 5
gloss diff small other -d t.db --method nearest --only unmatched --side b
gloss diff small other -d t.db --by firing -n 0
gloss diff small other -d t.db --csv --only same --side b
gloss diff small other -d t.db --csv --pairs | head -4
sqlite3 t.db "DELETE FROM firing WHERE source_id = 2" # by direction alone
gloss diff small other -d t.db --min-cosine 0.95 --only split --side b

data=$GLOSS_SOURCE/demo/data
for seed in 0 1; do
	gloss train "$data" -o s$seed --features 64 --k 8 --batch 256 --steps 8 --seed $seed --quiet >/dev/null 2>&1
	gloss index s$seed "$data" -d a.db --tokenizer "$data/tokenizer.json" --quiet >/dev/null
done
gloss index s0 "$data" -d b.db --source again --tokenizer "$data/tokenizer.json" --quiet >/dev/null
for by in cosine firing; do
	gloss diff s0 again -d a.db --with b.db --by $by --json | python3 -c "
import json, sys
d = json.load(sys.stdin)
print(sorted(d), d['matched']['by'], d['common']['contexts'], len(d['features']))
print([(d[s]['verdicts'], d[s]['chance_verdicts']['same']) for s in 'ab'], all(f['match'] == f['feature'] for f in d['features']))"
done
gloss diff s0 s1 -d a.db --json --pairs --threads 1 >one.json
gloss diff s0 s1 -d a.db --json --pairs --threads 2 | cmp - one.json
gloss diff s0 s1 -d a.db --json --pairs --seed 1 | python3 -c "
import json, sys
a, b = json.load(open('one.json')), json.load(sys.stdin)
print(a['features'] == b['features'], a['pairs'] == b['pairs'], a['cosine'] == b['cosine'], a['correlation'] == b['correlation'])
for s in 'ab':
	print(sum(a[s]['verdicts'].values()), all(a[m][s]['mean_best'] > a[m][s]['chance_99'] for m in ('correlation', 'jaccard')))"
