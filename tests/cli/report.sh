# A report of a small store, and all that can be wrong with one: nothing half-written is left.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
gloss report small.db
gloss report small.db -o r.html
grep -c . r.html >/dev/null && grep -o '<h2 id=[a-z]*' r.html
grep -c '<script\|http:' r.html
gloss report small.db --json --shown 0 | tr ',' '\n' | sed -n '/"replaced"/,/"unscored"/p'
gloss report small.db --source small --by detection --quiet >/dev/null || echo "exit $?"
gloss report 2>&1 || echo "exit $?"
gloss report none.db -o a.html 2>&1 || echo "exit $?"
gloss report r.html -o a.html 2>&1 || echo "exit $?"
gloss report small.db -o a.html --source other 2>&1 || echo "exit $?"
gloss report small.db -o a.html --by gossip 2>&1 || echo "exit $?"
gloss report small.db -o none/a.html 2>&1 || echo "exit $?"
gloss report small.db -o small.db 2>&1 || echo "exit $?"
gloss report small.db -o r.html >/dev/null || echo "exit $?"
GLOSS_FAULT=write:0 gloss report small.db -o a.html 2>&1 || echo "exit $?"
sqlite3 small.db "DELETE FROM score WHERE explanation_id <> 1"
gloss report small.db -o a.html 2>&1 || echo "exit $?"
sqlite3 small.db "DELETE FROM score"
gloss report small.db -o a.html 2>&1 || echo "exit $?"
sqlite3 small.db "DELETE FROM explanation"
gloss report small.db -o a.html 2>&1 || echo "exit $?"
ls
