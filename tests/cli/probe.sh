# sparse probing: labels of contexts, rows and documents; predictions; what JSON holds
data=$GLOSS_SOURCE/demo/data
gloss train "$data" -o sae --features 64 --k 8 --batch 256 --steps 8 --quiet >/dev/null 2>&1
awk 'BEGIN { print "n,kind"; for (i = 0; i < 64; i++) print i ",\"" (i % 2 ? "odd" : "even") ", \"\"yes\"\"\"" }' >contexts.csv
gloss probe sae "$data" --labels contexts.csv --column kind -k 1,3 --quiet -o predictions.csv | sed 's/[0-9]\.[0-9.]*/#/g; s/[0-9]* ([+-])/#/g; s/ *$//; s/   */  /g'
head -1 predictions.csv
awk -F, 'NR > 1 { n[$4]++ } END { print NR, n["test"], n["train"] }' predictions.csv
# three classes, each against the rest, with gaps
awk 'BEGIN { for (i = 0; i < 64; i++) print i % 16 == 15 ? "" : i % 3 + 9 }' >three.csv
gloss probe sae "$data" --labels three.csv --json --quiet --no-dense >three.json
gloss probe sae "$data" --labels three.csv --json --quiet --no-dense --threads 1 >again.json
python3 - <<'END'
import json
p, q = json.load(open("three.json")), json.load(open("again.json"))
print(p["examples"], [c["class"] for c in p["classes"]], p["not_probed"], p["settings"])
print([(x["class"], x["on"], x["k"], len(x.get("features", x.get("dimensions")))) for x in p["probes"]][:7])
for x in p["probes"] + q["probes"]:
	assert x.pop("seconds") >= 0 and x["converged"]
	for name in "accuracy", "balanced_accuracy", "f1", "auroc":
		e = x[name]
		assert e["value"] is None or e["low"] is None or 0 <= e["low"] <= e["high"] <= 1, e
print(p == q, sorted(p["mean"][0]), sorted(p["probes"][0]))
END
# each row: the label is the sign of one activation, which is found
gloss probe sae "$data" --labels contexts.csv --column kind --class nobody --quiet 2>&1
python3 - "$data" <<'END'
import glob, json, struct, sys
labels = []
for path in sorted(glob.glob(sys.argv[1] + "/*.safetensors")):
	data = open(path, "rb").read()
	n = struct.unpack("<Q", data[:8])[0]
	t = json.loads(data[8:8 + n])["activations"]
	a, b = t["data_offsets"]
	d = t["shape"][-1]
	x = struct.unpack(f"<{(b - a) // 2}e", data[8 + n + a:8 + n + b])
	labels += [int(v > 0) for v in x[7::d]]
open("sign.npy", "wb").write(b"\x93NUMPY\x01\x00\x76\x00" + f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(labels)},), }}".ljust(117).encode() + b"\n" + bytes(labels))
END
gloss probe sae "$data" --labels sign.npy --limit 2000 -k 1 --json --quiet | python3 -c '
import json, sys
p = json.load(sys.stdin)
print(p["examples"]["per"], p["examples"]["total"], p["probes"][0]["on"], p["probes"][0]["dimensions"], p["probes"][0]["auroc"]["value"] > 0.99)'
# perturbation: three classes; a second label
awk 'BEGIN { for (i = 0; i < 64; i++) print (i % 4 > 1 ? "b" : "a") }' >second.csv
gloss probe sae "$data" --labels three.csv --tpp --ablate 2,10 -k 1 --json --quiet >tpp.json
gloss probe sae "$data" --labels contexts.csv --column kind --spurious second.csv --ablate 2,10 -k 1 --json --quiet >scr.json
python3 - <<'END'
import json
t, s = json.load(open("tpp.json"))["tpp"], json.load(open("scr.json"))["scr"]
print([(r.get("class"), r["n"]) for r in t])
print(all(abs(r["intended"] - r["unintended"] - r["score"]) < 1e-9 for r in t))
print([sorted(r) for r in s], [r["n"] for r in s])
END
