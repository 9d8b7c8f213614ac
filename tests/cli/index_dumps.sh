# what index says of dumps that do not go with the SAE or the tokenizer; a store that was there stays as it was
data=$GLOSS_SOURCE/demo/data
python3 - <<'END'
import struct
def npy(path, dtype, shape, body):
	head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
	with open(path, "wb") as f:
		f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + body)
rows = [[(i * 7 + j * 3) % 11 - 5.0 for j in range(4)] for i in range(64)]
flat = [x for r in rows for x in r]
npy("four.npy", "<f4", (64, 4), struct.pack("<256f", *flat))
npy("eight.npy", "<f4", (32, 8), struct.pack("<256f", *flat))
npy("tokens.npy", "<i4", (8, 8), struct.pack("<64i", *range(64)))
npy("beyond.npy", "<i4", (8, 8), struct.pack("<64i", *[9999999 if i == 29 else i for i in range(64)]))
END
gloss train four.npy -o sae --features 16 --k 2 --batch 16 --steps 2 --quiet >/dev/null 2>&1 || echo "train failed"
index="gloss index sae --tokenizer $data/tokenizer.json --quiet"
$index eight.npy -d a.db 2>&1 || echo "exit $?"
$index four.npy -d a.db 2>&1 || echo "exit $?"
$index four.npy -d a.db --tokens beyond.npy 2>&1 || echo "exit $?"
ls *.db* 2>/dev/null
$index four.npy -d a.db --tokens tokens.npy >/dev/null || echo "exit $?"
cp a.db before.db
$index four.npy -d a.db --tokens beyond.npy --source other 2>&1 || echo "exit $?"
GLOSS_FAULT=write:200 $index four.npy -d a.db --tokens tokens.npy --source other 2>&1 || echo "exit $?"
python3 - <<'END'
import sqlite3
tables = "source feature feature_detail example vector firing context document vocab tokenizer".split()
a, b = ([sqlite3.connect(f).execute(f"SELECT * FROM {t}").fetchall() for t in tables] for f in ("a.db", "before.db"))
print("as before" if a == b else "changed", [len(t) for t in a])
END
ls *.db*
