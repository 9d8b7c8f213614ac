# A control vector for llama.cpp and the files of OpenAI's viewer, of a small store; what is refused.
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() { gloss "$@" || echo "exit $?"; }
try export -d small.db --to openai-viewer -o atoms --top 1 --samples 1
ls atoms/atoms | wc -l
cat atoms/atoms/3.json
sqlite3 small.db "INSERT OR REPLACE INTO vector SELECT 1, feature, x'003c00bc00000040' FROM feature"
gguf() { try export -d small.db --to gguf -o steer.gguf "$@"; }
gguf --feature 1 --alpha 2
od -An -v -tx1 steer.gguf | tr -d ' \n' | tail -c 64 && echo
strings -n 6 steer.gguf
gguf --feature 1,2 --alpha 2x,-1 --layer 7 --model-hint llama --force
strings -n 6 steer.gguf
gguf --feature 1 --alpha 2
gguf --feature 1 --force
gguf --feature 1,x --alpha 1 --force
gguf --feature 1,2,3 --alpha 1,2 --force
gguf --feature 1 --alpha nan --force
gguf --feature 1 --alpha 2y --force
gguf --feature 99 --alpha 2 --force
gguf --feature 1 --alpha 2 --layer 0 --force
gguf --feature 1 --alpha 0 --force
gguf --feature 1 --alpha 2 --table label
ls
