# verify: a store against its SAE and dump; lies about an example, a firing, a count; another SAE, dump, tokenizer
exec 2>&1
data=$GLOSS_SOURCE/demo/data
for seed in 0 1; do
	gloss train "$data" -o sae$seed --features 64 --k 4 --batch 256 --steps 2 --seed $seed --quiet >/dev/null
done
gloss index sae0 "$data" -d a.db --tokenizer "$data/tokenizer.json" --exclude-positions 0,3 --random 20 --quiet >/dev/null
hide() { sed 's/^  time .*/  time/; s/[0-9a-f]\{64\}/HASH/g; s/\("\(seconds\|example[s]*\|context[s]*\)":\)[0-9.e-]*/\1N/g; s/[0-9]* example/N example/; s/[0-9][0-9]* \(source_\|\)context/N \1context/g'; }
try() {
	gloss verify --quiet "$@" >out || echo "exit $?"
	hide <out
}
try a.db sae0 "$data"
try a.db sae0 "$data" --contexts 1 --seed 4 --json
try a.db sae0 "$data" --all --tokenizer "$data/tokenizer.json"
sqlite3 a.db "UPDATE source SET config = json_set(config, '$.kernels', 'quantum')"
try a.db sae0 "$data" --contexts 1 | grep -v "^  "
lie() {
	echo "lie: $1"
	cp a.db lie.db
	sqlite3 lie.db "$1"
	gloss verify lie.db sae0 "$data" --all --quiet >out && echo "got by"
	sed '1,/^what/d' out | awk '{ print $1, $2 }'
}
lie "UPDATE example SET activation_bits = activation_bits + 1 WHERE (feature, bin, rank) = (7, -1, 3)"
lie "UPDATE firing SET codes = CAST(substr(codes, 1, length(codes) - 2) || x'ffff' AS BLOB) WHERE rowid = 3"
lie "UPDATE feature SET n_fires = n_fires - 1 WHERE feature = 63"
try a.db sae1 "$data"
sh "$GLOSS_SOURCE/tests/half_dumps.sh" half0 half1
try a.db sae0 half0
(cat "$data/tokenizer.json" && echo) >tokenizer.json
try a.db sae0 "$data" --tokenizer tokenizer.json
ls
