# index the demo's dump twice under two names; a name is taken once; the same rows from one thread and two
data=$GLOSS_SOURCE/demo/data
gloss train "$data" -o sae --features 64 --k 4 --batch 256 --steps 4 --quiet >/dev/null 2>&1 || echo "train failed"
gloss index sae/ "$data" -d a.db --tokenizer "$data/tokenizer.json" --quiet |
	sed 's/^  \(features\|firings\|examples\|time\|file\) .*/  \1/'
gloss index sae "$data" -d a.db --tokenizer "$data/tokenizer.json" --quiet || echo "exit $?"
gloss index sae "$data" -d a.db --tokenizer "$data/tokenizer.json" --source again --corpus --threads 1 --json --quiet |
	sed 's/\("\(dead\|dense\|firings\|examples\|bytes\|[a-z_]*seconds*\|norm_limit\)":\)[0-9.e-]*/\1N/g'
python3 - <<'END'
import sqlite3
db = sqlite3.connect("a.db")
print(*db.execute("SELECT name, n_features, corpus FROM source"), sep="\n")
for table in "feature", "feature_detail", "example", "vector":
	columns = ", ".join(c[1] for c in db.execute(f"PRAGMA table_info({table})") if c[1] != "source_id")
	rows = [db.execute(f"SELECT {columns} FROM {table} WHERE source_id = ? ORDER BY 1, 2", [i]).fetchall() for i in (1, 2)]
	print(table, "equal" if sorted(map(str, rows[0])) == sorted(map(str, rows[1])) and rows[0] else "differs")
print(db.execute("PRAGMA integrity_check").fetchone(), db.execute("PRAGMA foreign_key_check").fetchall())
END
ls
