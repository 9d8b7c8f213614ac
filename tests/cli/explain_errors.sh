# Options that do not go together, files that are not there, keys that are no secret: one line each, exit 1 or 2.
try() {
	"$@" 2>&1
	echo "-> $?"
}
try gloss explain
try gloss explain -d none.db
try gloss explain -d none.db --base-url http://127.0.0.1:9/v1
try gloss explain -d none.db --model m
try gloss score -d none.db --replay
try gloss explain -d none.db --base-url http://127.0.0.1:9/v1 --model m --api-key-env NO_SUCH_VARIABLE
try gloss explain -d none.db --base-url http://127.0.0.1:9/v1 --model m --api-key-env A --api-key-file B
try gloss explain -d none.db --base-url http://127.0.0.1:9/v1 --model m --replay --dry-run
try gloss score -d none.db --scorer detection,fuzz
try gloss score -d none.db --scorer ''
echo secret >key
chmod 644 key
try gloss explain -d none.db --base-url http://127.0.0.1:9/v1 --model m --api-key-file key
chmod 600 key
try gloss explain -d none.db --base-url http://127.0.0.1:9/v1 --model m --api-key-file key
: >key
try gloss explain -d none.db --base-url http://127.0.0.1:9/v1 --model m --api-key-file key
try gloss explain -d none.db --base-url http://127.0.0.1:9/v1 --model m --api-key-file .
try gloss explain -d none.db --base-url http://127.0.0.1:9/v1 --model m --max-cost 3
echo '{"n": {"input": 1, "output": 2}}' >prices.json
try gloss explain -d none.db --base-url http://127.0.0.1:9/v1 --model m --max-cost 3 --price prices.json
try gloss explain -d none.db --price prices.json
try gloss explain -d none.db --template none.txt
try gloss explain -d none.db --base-url http://127.0.0.1:9/v1 --model m --template none.txt
try gloss explain -d none.db --batch
try gloss explain -d none.db --explainer best
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try gloss explain -d small.db --explainer table
try gloss explain -d small.db --cot
try gloss explain -d small.db --select 5
try gloss explain -d small.db --layer 1
try gloss explain -d small.db --base-url http://127.0.0.1:9/v1 --model m --explainer lexical
try gloss score -d small.db --scorer intervention --sae none
try gloss score -d small.db --scorer surprisal --base-url http://127.0.0.1:9/v1 --model m --subject http://127.0.0.1:9/v1 --sae none
try gloss explain -d small.db --explainer output --subject http://127.0.0.1:9/v1 --sae none
