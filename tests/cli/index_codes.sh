# codes computed elsewhere: what encode writes in each format, indexed, is what indexing the SAE gives; verify, merge; what is wrong
exec 2>&1
data=$GLOSS_SOURCE/demo/data
try() { gloss "$@" --quiet || echo "exit $?"; }
tokenizer="--tokenizer $data/tokenizer.json"
gloss train "$data" -o sae --features 64 --k 4 --batch 256 --steps 4 --quiet >/dev/null || echo "train failed"
gloss encode sae "$data" -o codes.npz --quiet >/dev/null
gloss encode sae "$data" -o codes.safetensors --quiet >/dev/null
gloss encode sae "$data" -o hook --format delphi --splits 3 --quiet | sed 's/[0-9.]* s, [0-9]* rows/time, rows/'
ls hook
gloss index sae "$data" -d a.db $tokenizer --corpus --quiet >/dev/null
gloss index --codes codes.npz "$data" -d a.db $tokenizer --corpus --quiet | sed 's/^  \(time\|file\) .*/  \1/'
gloss index --codes codes.safetensors "$data" -d a.db --source tensors $tokenizer --corpus --quiet >/dev/null
gloss index --codes hook "$data" -d a.db $tokenizer --corpus --quiet >/dev/null
python3 - <<'END2'
import sqlite3
db = sqlite3.connect("a.db")
rest = {"source_id", "decoder_norm", "neighbours"}
def rows(table, source):
	columns = ", ".join(c[1] for c in db.execute(f"PRAGMA table_info({table})") if c[1] not in rest)
	return sorted(map(repr, db.execute(f"SELECT {columns} FROM {table} JOIN source ON source.id = source_id WHERE name = ?".replace(columns, ", ".join(f"{table}.{c}" for c in columns.split(", "))), [source])))
for table in "feature", "feature_detail", "example", "firing", "source_context":
	want = rows(table, "sae")
	print(table, *("equal" if rows(table, s) == want and want else "differs" for s in ("codes.npz", "tensors", "hook")))
print(*db.execute("SELECT name, kind, architecture, d_in, k, weights_sha256 = (SELECT weights_sha256 FROM source WHERE name = 'sae'), dump_sha256 = (SELECT dump_sha256 FROM source WHERE name = 'sae') FROM source ORDER BY id"), sep="\n")
END2
try similar 5 -d a.db --source hook --limit 1 | head -1
try diff sae hook -d a.db | sed -n '1,3p'
try show 5 -d a.db --source hook | sed -n '1,2p'
try verify a.db codes.npz "$data" --source codes.npz --all | grep differences
try verify a.db hook "$data" --source hook | grep differences
try verify a.db codes.npz "$data" --source hook | grep -v "indexed\|time" | sed 's/[0-9a-f]\{64\}/HASH/g'
# tokens alone: delphi's brings them, of a matrix they are given; excluded ones do not count
python3 - "$data" <<'END2'
import json, struct, sys
ids = b""
for i in 0, 1:
	data = open(f"{sys.argv[1]}/acts-0000{i}-of-00002.safetensors", "rb").read()
	n = struct.unpack("<Q", data[:8])[0]
	t = json.loads(data[8:8 + n])["tokens"]
	a, b = t["data_offsets"]
	ids += data[8 + n + a:8 + n + b]
def npy(path, dtype, shape, body):
	head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
	open(path, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + body)
dtype = {"I32": "<i4", "I64": "<i8", "U16": "<u2"}[t["dtype"]]
npy("tokens.npy", dtype, (64, 256), ids)
size = len(ids) // (64 * 256)
npy("other.npy", dtype, (64, 256), ids[size:] + ids[:size])
npy("short.npy", dtype, (63, 256), ids[:63 * 256 * size])
END2
gloss index --codes hook -d b.db $tokenizer --quiet >/dev/null
gloss index --codes codes.npz --tokens tokens.npy -d b.db $tokenizer --exclude-positions 0,1 --quiet | sed -n 3p
try verify b.db hook --source hook --all | grep differences
try verify b.db codes.npz --tokens tokens.npy --source codes.npz --all | grep differences
# halves merge: the codes say of which SAE they are
sh "$GLOSS_SOURCE/tests/half_dumps.sh" half0 half1
for i in 0 1; do
	gloss encode sae half$i -o half$i.safetensors --quiet >/dev/null
	gloss index --codes half$i.safetensors half$i -d half$i.db --source hook $tokenizer --corpus --quiet >/dev/null
done
try merge half0.db half1.db -d joined.db >/dev/null
for db in a joined; do
	gloss sql "SELECT f.feature, f.n_fires, f.n_contexts, f.max_act FROM feature f JOIN source s ON s.id = f.source_id WHERE s.name = 'hook' ORDER BY 1" -d $db.db --json >$db.json
done
cmp a.json joined.json && head -c 30 a.json | grep -q feature && echo "joined as the whole"
echo wrong
wrong() { try index "$@" -d c.db $tokenizer 2>&1 | sed "s|'$data'|'data'|"; }
wrong --codes codes.npz
wrong --codes none.npz "$data"
wrong --codes sae "$data"
wrong --codes sae/sae_weights.safetensors "$data"
wrong --codes codes.npz --neurons "$data"
wrong --codes codes.npz "$data" --unembed x
wrong --codes hook --norm-limit 3
wrong --codes codes.npz half0
wrong --codes half0.safetensors half1
wrong --codes codes.npz --tokens short.npy
wrong --codes hook --tokens other.npy
wrong --codes hook "$data" --tokens other.npy
head -c 4000 codes.npz >cut.npz
wrong --codes cut.npz "$data"
cp -r hook cut && head -c 4000 hook/0_20.safetensors >cut/0_20.safetensors
wrong --codes cut "$data"
rm cut/0_20.safetensors
wrong --codes cut "$data"
try encode sae "$data" -o hook --format delphi
try encode sae "$data" -o hook --format delphi --force
try encode sae "$data" -o more --format delphi --splits 65
try verify a.db hook --source hook | grep -v "indexed\|time" | sed 's/[0-9a-f]\{64\}/HASH/g'
try verify a.db --source hook
ls -d c.db* more* hook.* 2>/dev/null || echo "nothing is left"
