# a meta-SAE of decoder rows: planted parts are found, chance has none; what is wrong, one line each
python3 - <<'END'
import json, os, random, struct
random.seed(1)
F, d = 96, 16 # each decoder row is the sum of two of twelve parts
parts = [[random.gauss(0, 1) for _ in range(d)] for _ in range(12)]
rows = [[a + b for a, b in zip(*random.sample(parts, 2))] for _ in range(F)]
os.mkdir("sae")
tensors = {"W_dec": ([F, d], [v for r in rows for v in r]), "W_enc": ([d, F], [rows[f][j] for j in range(d) for f in range(F)]), "b_enc": ([F], [0.0] * F), "b_dec": ([d], [0.0] * d)}
header, data = {}, b""
for name, (shape, values) in tensors.items():
	raw = struct.pack(f"<{len(values)}f", *values)
	header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
	data += raw
h = json.dumps(header).encode()
open("sae/sae_weights.safetensors", "wb").write(struct.pack("<Q", len(h)) + h + data)
json.dump({"architecture": "topk", "d_in": d, "d_sae": F, "k": 4, "dtype": "float32", "apply_b_dec_to_input": True, "normalize_activations": "none"}, open("sae/cfg.json", "w"))
END
gloss meta sae -o meta -k 2 --steps 800 --batch 96 --lr 0.005 --json --quiet | python3 -c '
import json, sys
p = json.load(sys.stdin)
print(sorted(p), p["rows"], p["meta_features"], p["variance_explained"] > p["chance"] + 0.1)'
ls meta
gloss eval meta meta/decoder.safetensors --holdout 1 --metric features --no-dictionary --quiet --json | sed 's/.*"features"/"features"/'
gloss meta sae -o meta 2>&1 || echo "exit $?"
gloss meta sae 2>&1 || echo "exit $?"
gloss meta none -o new 2>&1 || echo "exit $?"
gloss meta sae -o new --width 0 2>&1 || echo "exit $?"
gloss eval meta meta/decoder.safetensors --holdout 1 --mdl --metric l0 --no-dictionary --quiet --json | python3 -c '
import json, sys
for r in json.load(sys.stdin)["mdl"]: print(r["bins"], abs(r["bits"] - r["position_bits"] - r["value_bits"]) < 1e-9, 0 < r["fvu"] < 1)'
