#!/bin/sh
# demo/convert_dump.py: the demo's dump through Parquet and Arrow is the same dump, by its hash; ragged lists become lengths.
set -eu
gloss=${GLOSS_BIN:?the program}
cd "${GLOSS_SOURCE:?the source folder}"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM

fail() { echo "convert: $*" >&2; exit 1; }
# hash DUMP [OPTION...]: its SHA-256
hash() { "$gloss" inspect --quiet --json "$@" | sed 's/^{"sha256":"\([0-9a-f]*\)".*/\1/'; }
# refused WORDS ARGUMENT...: convert_dump.py ends with 1 and these words
refused() {
	words=$1
	shift
	if "$python" demo/convert_dump.py "$@" --out "$tmp/no" >"$tmp/log" 2>&1; then fail "took $*"; fi
	grep -q "$words" "$tmp/log" || { cat "$tmp/log" >&2; fail "did not say '$words'"; }
}

venv=${GLOSS_CONVERT_VENV:-build/venv-convert}
if [ ! -f "$venv/ready" ]; then
	python3 -m venv "$venv"
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy==2.4.6 pyarrow==26.0.1
	touch "$venv/ready"
fi
python=$(cd "$venv/bin" && pwd)/python

"$python" - "$tmp" <<'END'
import json, sys
import numpy as np
import pyarrow as pa, pyarrow.parquet as pq
out = sys.argv[1]
acts, tokens = [], []
for i in range(2):
	raw = open(f"demo/data/acts-0000{i}-of-00002.safetensors", "rb").read()
	n = int.from_bytes(raw[:8], "little")
	h = json.loads(raw[8 : 8 + n])
	def get(name, dtype):
		b, e = h[name]["data_offsets"]
		return np.frombuffer(raw[8 + n + b : 8 + n + e], dtype).reshape(h[name]["shape"])
	acts.append(get("activations", "<f2"))
	tokens.append(get("tokens", "<i4"))
a, t = np.concatenate(acts), np.concatenate(tokens)
rows = pa.FixedSizeListArray.from_arrays(pa.array(a.reshape(-1)), 576)
pq.write_table(pa.table({"x": rows, "token_ids": pa.array(t.reshape(-1))}), f"{out}/rows.parquet")
contexts = pa.FixedSizeListArray.from_arrays(rows, 256)
table = pa.table({"x": contexts, "tokens": pa.FixedSizeListArray.from_arrays(pa.array(t.reshape(-1)), 256)})
with pa.OSFile(f"{out}/a.arrow", "wb") as f, pa.ipc.new_stream(f, table.schema) as w:
	for b in table.to_batches(max_chunksize=10):
		w.write_batch(b)
with pa.OSFile(f"{out}/b.arrow", "wb") as f, pa.ipc.new_file(f, table.schema) as w:
	w.write_table(table)
lengths = [100 + i for i in range(64)]
lists = lambda x: pa.array([x[c, :n].tolist() for c, n in enumerate(lengths)])
pq.write_table(pa.table({"x": lists(a.reshape(64, 256, 576)[:, :, :4].astype("f4")), "tokens": lists(t)}), f"{out}/ragged.parquet")
pq.write_table(pa.table({"x": pa.array([[1.0, 2.0], None])}), f"{out}/holes.parquet")
pq.write_table(pa.table({"x": pa.array([[1.0, 2.0], [1.0]])}), f"{out}/widths.parquet")
pq.write_table(pa.table({"x": rows, "y": rows}), f"{out}/two.parquet")
END
want=$(hash demo/data)
for source in rows.parquet a.arrow b.arrow; do
	"$python" demo/convert_dump.py "$tmp/$source" --out "$tmp/$source.d" --shard-rows 3000 >/dev/null
	[ "$(hash "$tmp/$source.d" --ctx-len 256)" = "$want" ] || fail "$source became another dump"
done
"$python" demo/convert_dump.py "$tmp/ragged.parquet" --out "$tmp/ragged" --model m >/dev/null
"$gloss" inspect "$tmp/ragged" --quiet >"$tmp/log"
grep -q '^contexts      64 of 100 to 163 tokens$' "$tmp/log" && grep -q '^model         m$' "$tmp/log" || { cat "$tmp/log"; fail "ragged lists"; }
refused "column 'x' has empty cells" "$tmp/holes.parquet"
refused "neither lists of numbers of one length" "$tmp/widths.parquet"
refused "name it with --column; it has x, y" "$tmp/two.parquet"
refused "has no 'z'; it holds x, y" "$tmp/two.parquet" --column z
refused "no .arrow, .parquet or .pt file at" "$tmp/none"
echo "convert: the same dump from rows, Arrow streams and Arrow files"
