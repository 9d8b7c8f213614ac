# A source in Neuronpedia's layout, its labels into another store; options that do not go together.
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() { gloss "$@" || echo "exit $?"; }
try export -d small.db --to neuronpedia -o np --top 1 --samples 1 | sed 's/, [0-9.]* MB//'
find np -type f | LC_ALL=C sort
gzip -dc np/v1/tiny/1-small/explanations/batch-0.jsonl.gz | head -2
gzip -dc np/v1/tiny/1-small/activations/batch-0.jsonl.gz | head -1
cat np/v1/tiny/1-small/source.jsonl np/v1/config/explanation_type.jsonl
cp small.db other.db
sqlite3 other.db "DELETE FROM score" "DELETE FROM explanation"
try import -d other.db np
try import -d other.db np/v1/tiny/1-small/explanations/batch-0.jsonl.gz --json
sqlite3 small.db "SELECT feature, hex(text), method, model, created FROM explanation" >before
sqlite3 other.db "SELECT feature, hex(text), method, model, created FROM explanation" | cmp - before && echo same
try export -d small.db --to neuronpedia -o np
try export -d small.db --to neuronpedia -o np --force --source-id 1-mine --model-id m --creator u --quiet | sed 's/, [0-9.]* MB//'
find np -name 'source.jsonl' -exec cat {} +
try export -d small.db --to neuronpedia -o two --table label
try export -d small.db -o two --model-id m
try export -d small.db --to neuronpedia -o two --source-id ../x
echo '{"index":0,"description":"a"}' >rows.jsonl
echo '{"index":99,"description":"b"}' >>rows.jsonl
try import -d small.db rows.jsonl
try import -d small.db small.db
try import -d small.db nowhere
mkdir -p empty several/v1/m/a several/v1/m/b
try import -d small.db empty
try import -d small.db several
try import -d small.db
try import rows.jsonl
ls
