# Jobs: listed, shown, cancelled, retried, taken up again; what names none.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
timeless() { sed 's/2[0-9]*-[0-9]*-[0-9]*T[0-9:]*Z/TIME/g; s/[0-9.]* s$/N s/; s/"uid":"[^"]*"/"uid":"U"/; s/"options":{[^}]*}/"options":{}/; s/[0-9a-f]\{64\}/HASH/g'; }
try() {
	"$@" 2>&1 | timeless
}
try gloss jobs -d small.db
gloss explain -d small.db --features 0-2 --seed 7 >/dev/null
try gloss jobs -d small.db
try gloss jobs list -d small.db --json
try gloss jobs show 1 -d small.db
try gloss jobs cancel 1 -d small.db
sqlite3 small.db "UPDATE job SET state = 'stopped', error = 'stopped'; UPDATE task SET state = 'failed', error = 'no answer' WHERE feature = 1; UPDATE task SET state = 'waiting' WHERE feature = 2"
try gloss jobs cancel 1 -d small.db
try gloss jobs retry 1 -d small.db
try gloss jobs resume 1 -d small.db
try gloss jobs retry 1 -d small.db --refused --json
try gloss jobs show 1 -d small.db --json
try gloss jobs
try gloss jobs show -d small.db
try gloss jobs show x -d small.db
try gloss jobs show 9 -d small.db
try gloss jobs resume 9 -d small.db
try gloss jobs list 1 -d small.db
try gloss jobs burn 1 -d small.db
try gloss jobs cost 1 -d small.db
try gloss jobs cost 1 -d small.db --json
ls small.db.requests 2>/dev/null || echo 'no log is made by asking'
try gloss jobs export 1 -d small.db
try gloss jobs export 1 -d small.db -o job.jsonl
cat job.jsonl
try gloss jobs gc -d small.db --dry-run
try gloss jobs gc -d small.db --json
try gloss jobs list -d small.db --older-than 3
try gloss jobs cancel 1 -d small.db --refused
try gloss jobs show 1 -d small.db --concurrency 3
