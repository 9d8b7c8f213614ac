# neurons of a dump beside an SAE of it: contexts shared, queries, diff by direction, verify; what is wrong
exec 2>&1
data=$GLOSS_SOURCE/demo/data
try() { gloss "$@" --quiet || echo "exit $?"; }
gloss train "$data" -o sae --features 64 --k 4 --batch 256 --steps 4 --quiet >/dev/null || echo "train failed"
gloss index sae "$data" -d a.db --tokenizer "$data/tokenizer.json" --quiet >/dev/null
gloss index --neurons "$data" -d a.db --tokenizer "$data/tokenizer.json" --quiet |
	sed 's/^  \(time\|file\) .*/  \1/'
gloss index --neurons "$data" -d a.db --source both --both-signs --density 0 --threshold 20 --tokenizer "$data/tokenizer.json" --quiet |
	sed 's/^  \(time\|file\) .*/  \1/'
gloss sources -d a.db | awk '{ print $1, $2, $3, $4, $5, $6, $8 }'
python3 - <<'END2'
import sqlite3, json
db = sqlite3.connect("a.db")
d, = db.execute("SELECT d_in FROM source WHERE name = 'neurons'").fetchone()
print(db.execute("SELECT count(DISTINCT id) FROM context").fetchone() == db.execute("SELECT max(n_contexts) FROM source").fetchone())
print(db.execute("SELECT count(*) = ?, count(*) FILTER (WHERE density BETWEEN 0.04 AND 0.06) > 0.9 * ?, min(decoder_norm), max(decoder_norm) FROM feature JOIN source ON id = source_id WHERE name = 'neurons'", [d, d]).fetchone())
print(db.execute("SELECT count(*) = 2 * ?, min(activation) > 20 FROM feature JOIN source ON id = source_id LEFT JOIN example USING (source_id, feature) WHERE name = 'both'", [d]).fetchone()[1])
print(db.execute("SELECT count(*) FROM vector JOIN source ON id = source_id WHERE kind = 'neurons'").fetchone())
print([sorted(k for k in json.loads(c) if k in ("density", "threshold", "both-signs", "thresholds")) for c, in db.execute("SELECT config FROM source WHERE kind = 'neurons' ORDER BY id")])
END2
try show 5 -d a.db --source neurons | sed -n '1,2p'
try features -d a.db --source neurons --sort -density --limit 2 | wc -l
try find --regex 'the' -d a.db --source neurons --limit 2 | wc -l
try similar 5 -d a.db --source neurons --limit 1 | sed -n '1,3p' | sed 's/[0-9.]* of [0-9]* tokens of [0-9]* /N /'
try similar 5 -d a.db --source neurons --in sae --limit 1 | sed -n '1,2p'
try similar 5 -d a.db --source sae --in neurons --limit 1 | sed -n '1,2p'
try diff sae neurons -d a.db --json >out && echo "diff works"
rm out
try verify a.db "$data" --source neurons --all | grep differences
try verify a.db "$data" --source both | grep differences
sqlite3 a.db "UPDATE example SET activation_bits = activation_bits + 1 WHERE source_id = 2 AND (feature, bin, rank) = (7, -1, 3)"
try verify a.db "$data" --source neurons --all | awk '/^  differences/ { print $1, $2 } /^example/ { print $1, $2 }'
echo wrong
try index --neurons -d a.db --tokenizer "$data/tokenizer.json"
try index sae "$data" -d a.db --density 0.1 --tokenizer "$data/tokenizer.json"
try index --neurons "$data" -d a.db --density 1 --tokenizer "$data/tokenizer.json"
try index --neurons "$data" -d a.db --tokenizer "$data/tokenizer.json"
try index --neurons "$data" -d b.db --unembed sae/sae_weights.safetensors --tokenizer "$data/tokenizer.json"
try index --neurons sae -d b.db --tokenizer "$data/tokenizer.json"
try verify a.db --source neurons
try verify a.db sae --source sae
ls
# two halves: their thresholds differ, unless nothing raises them
sh "$GLOSS_SOURCE/tests/half_dumps.sh" half0 half1
for i in 0 1; do
	gloss index --neurons half$i -d half$i.db --norm-limit 2000 --tokenizer "$data/tokenizer.json" --quiet >/dev/null
	gloss index --neurons half$i -d flat$i.db --norm-limit 2000 --density 0 --threshold 5 --tokenizer "$data/tokenizer.json" --quiet >/dev/null
done
gloss index --neurons "$data" -d flat.db --norm-limit 2000 --density 0 --threshold 5 --tokenizer "$data/tokenizer.json" --quiet >/dev/null
try merge half0.db half1.db -d half.db | sed 's/[0-9a-f]\{64\}/HASH/g'
try merge flat0.db flat1.db -d joined.db >/dev/null
for db in joined flat; do
	gloss sql "SELECT feature, n_fires, max_act, n_contexts FROM feature ORDER BY feature" -d $db.db --json >$db.json
done
cmp joined.json flat.json && echo "as of the whole"
try verify joined.db half1 | grep differences
