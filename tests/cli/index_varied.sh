# index SAEs whose rows hold any number of features (jumprelu) or one of each group: all firings are there, as eval counts them
data=$GLOSS_SOURCE/demo/data
gloss train "$data" -o topk --features 64 --k 8 --batch 256 --steps 4 --quiet >/dev/null 2>&1 || echo "train failed"
python3 - <<'END'
import json, os, struct
cfg = json.load(open("topk/cfg.json"))
del cfg["rescale_acts_by_decoder_norm"]
data = open("topk/sae_weights.safetensors", "rb").read()
n = struct.unpack("<Q", data[:8])[0]
header, body = json.loads(data[8:8 + n]), data[8 + n:]
for name in "jumprelu", "gloss_groupmax":
	os.mkdir(name)
	json.dump(cfg | {"architecture": name}, open(f"{name}/cfg.json", "w"))
	h, b = dict(header), body
	if name == "jumprelu":
		threshold = struct.pack("<64f", *(0.5 * (f % 5) for f in range(64)))
		h["threshold"] = {"dtype": "F32", "shape": [64], "data_offsets": [len(b), len(b) + len(threshold)]}
		b += threshold
	text = json.dumps(h).encode()
	open(f"{name}/sae_weights.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + b)
END
for sae in jumprelu gloss_groupmax; do
	gloss index $sae "$data" -d a.db --tokenizer "$data/tokenizer.json" --corpus --quiet >/dev/null || echo "exit $?"
	gloss eval $sae "$data" --holdout 1 --json --quiet >$sae.json || echo "exit $?"
done
python3 - <<'END'
import json, sqlite3, struct
db = sqlite3.connect("a.db")
for source, name, arch, k, tokens, firings in db.execute("SELECT id, name, architecture, k, n_tokens, n_firings FROM source").fetchall():
	m = json.load(open(f"{name}.json"))
	rows = m["rows"]["evaluated"]
	print(name, arch, k, tokens == rows, abs(firings - m["metrics"]["l0"] * rows) < 3) # rounding may move a value over its threshold
	lengths, good = set(), True
	for (codes,) in db.execute("SELECT codes FROM firing WHERE source_id = ?", [source]):
		width, size, exponent, n, total = struct.unpack("<xBBxhxxII", codes[:16])
		count = struct.unpack("<%d%s" % (n, {1: "B", 2: "H"}[size]), codes[16:16 + n * size])
		at = 16 + n * size
		features = struct.unpack("<%dH" % total, codes[at:at + 2 * total])
		values = struct.unpack("<%de" % total, codes[at + 2 * total:])
		i = 0
		for c in count:
			row = features[i:i + c]
			lengths.add(c)
			if arch == "groupmax":
				good &= len({f // 8 for f in row}) == c
			else:
				good &= all(v * 2.0 ** exponent >= 0.999 * 0.5 * (f % 5) for f, v in zip(row, values[i:i + c]))
			i += c
	print("rows of many lengths" if len(lengths) > (3 if k else 20) else sorted(lengths), good)
END
