# merge: halves of a dump indexed apart and joined are the index of both, table by table; two SAEs side by side; refusals
exec 2>&1
data=$GLOSS_SOURCE/demo/data
gloss train "$data" -o sae --features 64 --k 4 --batch 256 --steps 2 --quiet >/dev/null
sh "$GLOSS_SOURCE/tests/half_dumps.sh" half0 half1
index() { gloss index "$@" --tokenizer "$data/tokenizer.json" --random 9 --top 3 --samples 2 --quiet >/dev/null; }
index sae half0 -d a.db
index sae half1 -d b.db
index sae half0 half1 -d whole.db --manifest "$data/dump.json"
hide() { sed 's/[0-9]* firings, [0-9]* examples/N firings, N examples/; s/[0-9]* contexts of/N contexts of/'; }
gloss merge a.db b.db -d joined.db | hide
python3 - <<'END'
import sqlite3
a, b = (sqlite3.connect(f"file:{name}.db?mode=ro", uri=True) for name in ("joined", "whole"))
rows = {t: f"SELECT * FROM {t} ORDER BY 1, 2, 3" for t in ("firing", "feature_detail", "vocab")}
rows["source_context"] = "SELECT * FROM source_context ORDER BY 1, 2"
rows["vector"] = "SELECT * FROM vector ORDER BY 1, 2"
rows["example"] = "SELECT * FROM example ORDER BY 1, 2, 3, 4"
rows["document"] = "SELECT key, group_key, part FROM document ORDER BY key"
rows["context"] = "SELECT c.id, d.key, tokens, text, offsets FROM context c JOIN document d ON d.id = document_id ORDER BY c.id"
rows["feature"] = """SELECT feature, n_fires, n_contexts, density, max_act, median_act, top_token, top_token_share, token_entropy,
    decoder_norm, behaviour FROM feature ORDER BY feature"""
rows["source"] = "SELECT name, weights_sha256, n_tokens, n_left_out, norm_limit, n_contexts, n_firings, n_top, n_samples FROM source"
for table, sql in sorted(rows.items()):
    x, y = a.execute(sql).fetchall(), b.execute(sql).fetchall()
    print(table, "equal" if x == y and x else "differs")
sums = [d.execute("SELECT sum1, sum2, sum3, sum4 FROM feature ORDER BY feature").fetchall() for d in (a, b)]
print("sums", all(abs(x - y) <= 1e-12 * max(abs(x), abs(y)) for r, s in zip(*sums) for x, y in zip(r, s)))
print(a.execute("PRAGMA integrity_check").fetchone(), a.execute("PRAGMA foreign_key_check").fetchall())
END
gloss verify joined.db sae half0 half1 --manifest "$data/dump.json" --all --quiet | grep -E 'dump|differences'
gloss verify joined.db sae half1 --quiet | grep -E 'dump|differences'
gloss verify joined.db sae half1 --all --quiet || echo "exit $?"
gloss label 5 "what it is" -d a.db --quiet >/dev/null || gloss label -d a.db 5 "what it is" --quiet
index sae half0 -d c.db --source other
gloss merge a.db c.db -d both.db --json | sed 's/\("\(firings\|examples\|contexts\)":\)[0-9]*/\1N/g'
gloss merge a.db c.db -d both.db || echo "exit $?"
gloss merge a.db b.db a.db -d d.db || echo "exit $?"
gloss merge a.db joined.db -d d.db 2>&1 | sed 's/dump [0-9a-f]*/dump HASH/'
gloss merge a.db b.db || echo "exit $?"
gloss merge a.db -d d.db || echo "exit $?"
gloss merge a.db missing.db -d d.db || echo "exit $?"
gloss merge a.db sae/cfg.json -d d.db || echo "exit $?"
gloss merge a.db b.db -d a.db --force || echo "exit $?"
gloss merge a.db b.db -d folder/d.db || echo "exit $?"
index sae half1 -d b.db --force --before 3
gloss merge a.db b.db -d d.db || echo "exit $?"
ls
