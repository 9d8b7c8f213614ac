# architectures and screening: what is said, refused, saved, measured, indexed and gone on with
data=$GLOSS_SOURCE/demo/data
quick="--features 64 --k 8 --batch 256 --steps 8 --quiet"
train() { gloss train "$data" $quick "$@" 2>&1 || echo "exit $?"; }
train -o groups --arch groupmax --k 7
train -o groups --arch vector
train -o groups --screening some
train -o groups --sweep arch=topk,groupmax --arch topk
train -o groups --arch groupmax | sed 's/ in [0-9.]* s ([^;]*; / (/; s/, kernels .*/)/; s/0\.[0-9]\{4\},/fvu,/; s/l0 [0-9.]*/l0/; s/, [0-9]* features dead//'
python3 - <<'END'
import json
c = json.load(open("groups/cfg.json"))
m = c["metadata"]
print(c["architecture"], m["training_architecture"], m["gloss"]["options"]["arch"], m["gloss"]["screening"].split()[0])
print(sorted(set(json.loads(open("groups/train.jsonl").readline()))))
END
gloss eval groups "$data" --json --quiet | python3 -c "
import json, sys
m = json.load(sys.stdin)['metrics']
print('eval', 0 < m['fvu'] < 1, 4 < m['l0'] <= 8)"
gloss index groups "$data" -d a.db --tokenizer "$data/tokenizer.json" --quiet >/dev/null || echo "exit $?"
gloss sql -d a.db "SELECT architecture, k, max(n_fires) > 0 AS fires FROM source JOIN feature"
# off and exact have the same bits and are one to a checkpoint
for how in exact off statistical; do
	train -o $how --arch groupmax --screening $how >/dev/null
done
cmp groups/sae_weights.safetensors exact/sae_weights.safetensors && cmp exact/sae_weights.safetensors off/sae_weights.safetensors && echo same
train -o off --arch groupmax --screening exact --resume
train -o exact --arch groupmax --screening off --resume
train -o exact --arch groupmax --screening statistical --resume
train -o statistical --arch groupmax --resume
train -o exact --resume
# 8-bit moments: a smaller checkpoint, and no other run's
train -o small --optimizer-state 8 --arch groupmax >/dev/null
train -o small --arch groupmax --resume
python3 - <<'END'
import json, struct
data = open("small/checkpoint/state.safetensors", "rb").read()
header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
for name in sorted(header):
	if "W_" in name:
		print(name, header[name]["dtype"], header[name]["shape"])
END
# in one pass, each as alone
train -o sweep --sweep arch=topk,groupmax | sed 's/in [0-9.]* s.*//; s/  *[0-9]*  sweep/ sweep/; s/0\.[0-9]\{4\} /fvu /g; s/  [0-9.]*  *[0-9]* sweep/ sweep/; s/dead  *tok/dead  tok/'
cmp groups/sae_weights.safetensors sweep/groupmax/sae_weights.safetensors && echo same
