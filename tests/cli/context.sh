# one context, with and without stored firings; hostile text
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
gloss context 9000000000000000001 -d small.db --top 2 | head -14
gloss context 9000000000000000001 -d small.db --top 0 --limit 2 --json | python3 -c "
import json, sys
d = json.load(sys.stdin)
print(sorted(d), sorted(d['tokens'][1]), d['features'])"
sqlite3 small.db 'DELETE FROM firing WHERE context_id = 9000000000000000002'
gloss context 9000000000000000002 -d small.db
gloss context 12 -d small.db 2>&1 || echo "exit $?"
gloss context -1 -d small.db 2>&1 || echo "exit $?"
gloss context 99999999999999999999 -d small.db 2>&1 || echo "exit $?"
gloss context 9000000000000000001 2>&1 || echo "exit $?"
sqlite3 small.db "UPDATE firing SET codes = x'01' WHERE context_id = 9000000000000000001"
gloss context 9000000000000000001 -d small.db 2>&1 || echo "exit $?"
