# what verify says of wrong input, one line each
exec 2>&1
data=$GLOSS_SOURCE/demo/data
try() { gloss verify --quiet "$@" 2>&1 || echo "exit $?"; }
gloss train "$data" -o sae --features 16 --k 2 --batch 256 --steps 1 --quiet >/dev/null
gloss index sae "$data" -d a.db --tokenizer "$data/tokenizer.json" --random 2 --top 1 --samples 1 --quiet >/dev/null
try
try a.db sae
try missing.db sae "$data"
try sae/cfg.json sae "$data"
cp a.db newer.db && sqlite3 newer.db "PRAGMA user_version = 99"
try newer.db sae "$data" | sed "s|up to .*|up to N|"
try a.db sae "$data" --source other
try a.db missing "$data"
try a.db sae missing
try a.db sae "$data" --exclude-tokens 3
try a.db sae "$data" --max-norm-ratio 3
try a.db sae "$data" --tokenizer sae/cfg.json
TMPDIR=/proc try a.db sae "$data" --all
sqlite3 a.db "UPDATE source SET kind = 'other'"
try a.db sae "$data"
