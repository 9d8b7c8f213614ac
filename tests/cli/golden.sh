# Golden sets that cannot be: each one line, and nothing is kept.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
ask() { gloss score -d small.db --golden --n 3 "$@" 2>&1 </dev/null || echo "exit $?"; }
ask
ask --json
ask --scorer intruder
ask --scorer detection,fuzz
ask --features 3
ask --source other
gloss score -d none.db --golden 2>&1 </dev/null || echo "exit $?"
gloss score -d small.db --golden --n 0 2>&1 </dev/null || echo "exit $?"
for option in '--base-url http://127.0.0.1:9/v1 --model m' '--subject http://127.0.0.1:9/v1' '--group 4' --logprobs '--precision 0.1' --dry-run --only-new '--progress json'; do ask $option; done
sqlite3 small.db "DELETE FROM score"
ask
ask --json
sqlite3 small.db "SELECT count(*) FROM golden"
