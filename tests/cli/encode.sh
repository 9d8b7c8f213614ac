# codes as CSR: the two formats hold the same, what is left out is empty
data=$GLOSS_SOURCE/demo/data
gloss train "$data" -o sae --features 64 --k 8 --batch 256 --steps 8 --quiet >/dev/null 2>&1
gloss encode sae "$data" -o codes.npz --quiet | sed 's/[0-9.]* s, [0-9]* rows/time, rows/'
gloss encode sae "$data" -o codes.safetensors --quiet --json | sed 's/"seconds":[0-9.]*/"seconds":0/'
python3 - <<'END'
import json, struct, zipfile
z = zipfile.ZipFile("codes.npz")
print(sorted(z.namelist()), z.testzip())
data = open("codes.safetensors", "rb").read()
n = struct.unpack("<Q", data[:8])[0]
h = json.loads(data[8:8 + n])
meta = h.pop("__metadata__")
print(sorted(meta), meta["format"])
for name, t in sorted(h.items()):
	a, b = t["data_offsets"]
	print(name, t["dtype"], z.read(name + ".npy")[128:] == data[8 + n + a:8 + n + b])
END
# what is wrong, one line each, and nothing is written
gloss encode sae "$data" 2>&1 || echo "exit $?"
gloss encode sae "$data" -o codes.txt 2>&1 || echo "exit $?"
gloss encode sae "$data" -o codes.npz 2>&1 || echo "exit $?"
gloss encode none "$data" -o new.npz 2>&1 || echo "exit $?"
gloss encode sae none -o new.npz 2>&1 || echo "exit $?"
gloss encode sae "$data" -o none/new.npz --quiet 2>&1 || echo "exit $?"
gloss encode sae "$data" -o new.npz --kernels sse 2>&1 || echo "exit $?"
test -e new.npz || echo "not there"
