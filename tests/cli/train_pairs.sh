# dumps of the same tokens: transcoders and crosscoders are trained, gone on with, measured and looked at; what does not fit is refused
data=$GLOSS_SOURCE/demo/data
# The demo's rows cut to some of their values (a linear map of them), in folders of their own; one with a token changed, one a shard short.
python3 - "$data" <<'END'
import json, os, struct, sys
def read(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8:8 + n]), raw[8 + n:]
def part(name, first, width, change=lambda shard, tokens: tokens, shards=2, masks=False, bad=b""):
    os.mkdir(name)
    for shard in range(shards):
        file = f"acts-{shard:05}-of-00002.safetensors"
        header, body = read(sys.argv[1] + "/" + file)
        a, t = header["activations"], header["tokens"]
        d = a["shape"][-1]
        x, tokens = body[slice(*a["data_offsets"])], change(shard, body[slice(*t["data_offsets"])])
        x = b"".join(x[i + 2 * first:i + 2 * (first + width)] for i in range(0, len(x), 2 * d))
        x = bad + x[len(bad):]
        mask = (b"\1" * (t["shape"][0] * t["shape"][1] - 1) + b"\0") if masks else b""
        ends = [0, len(x), len(x) + len(tokens), len(x) + len(tokens) + len(mask)]
        out = {"activations": {"dtype": "F16", "shape": a["shape"][:-1] + [width], "data_offsets": ends[:2]},
            "tokens": {"dtype": t["dtype"], "shape": t["shape"], "data_offsets": ends[1:3]}}
        if masks:
            out["mask"] = {"dtype": "U8", "shape": t["shape"], "data_offsets": ends[2:]}
        out = json.dumps(out).encode()
        open(f"{name}/{file}", "wb").write(struct.pack("<Q", len(out)) + out + x + tokens + mask)
part("x", 0, 32)
part("y", 32, 24)
part("z", 24, 32)
part("other", 32, 24, lambda shard, t: t if shard else t[:40] + b"\1\0\0\0" + t[44:])
part("short", 32, 24, shards=1)
part("masked", 32, 24, masks=True)
part("broken", 32, 24, bad=b"\0\x7e")
END
train() { gloss train x --features 64 --k 8 --batch 256 --steps 60 --quiet "$@" 2>&1 || echo "exit $?"; }
dense() { gloss train x --features 64 --target-l0 8 --batch 256 --steps 60 --quiet "$@" 2>&1 || echo "exit $?"; }
# what does not fit
train --target other -o t
train --target y -o t --normalize whiten
train --target masked -o t
train --target broken --nan fail -o t
train --target short -o t
train --target nowhere -o t
train --cross other -o t
train --skip -o t
train --target y --cross z -o t
train --cross z --cross z --cross-key activations -o t
train --cross y -o t
train --cross x -o t
train --cross-key activations -o t
for arch in codebook pursuit; do
	gloss train x --target y --arch $arch --features 64 --batch 256 --steps 8 --quiet -o t 2>&1 || echo "exit $?"
done
train --cross z --archetypal 8 -o t
train --target y --normalize whiten -o t
dense --target y --arch relu --raw-input -o t
# a transcoder, and with a skip
train --target y -o t | sed 's/ in [0-9.]* s ([^;]*; / (/; s/, kernels .*/)/; s/0\.[0-9]\{4\},/fvu,/; s/l0 [0-9.]*/l0/; s/, [0-9]* features dead//; s/fvu [0-9.]*/fvu/'
train --target y --skip --arch batchtopk -o ts >/dev/null
for of in t ts; do
	gloss inspect $of | head -2
	gloss eval $of x --target y --json --quiet | python3 -c "
import json, sys
m = json.load(sys.stdin)['metrics']
print('eval', 0 < m['fvu'] < 1, 4 < m['l0'] < 12)"
done
# with a penalty too
for arch in relu panneal gated jumprelu; do
	dense --target y --skip --arch $arch -o p_$arch >/dev/null
	gloss inspect p_$arch | head -1
	gloss eval p_$arch x --target y --json --quiet | python3 -c "
import json, sys
m = json.load(sys.stdin)['metrics']
print('eval', 0 < m['fvu'] < 1, m['l0'] > 0)"
done
# dead features begin anew, in each step
train --target y --resample 10 --auxk-alpha 0 --features 512 --k 2 -o r_topk >/dev/null
dense --target y --resample 10 --arch jumprelu --start-l0 0.5 --auxk-alpha 0.03 -o r_jumprelu >/dev/null
for of in r_topk r_jumprelu; do
	sed -n 's/.*"n_resampled":[1-9].*/resampled/p' $of/train.jsonl | tail -1
done
gloss eval t x 2>&1 || echo "exit $?"
gloss eval t x --target other 2>&1 || echo "exit $?"
gloss encode t x -o t.npz --quiet >/dev/null && echo encoded
gloss index t x -d t.db --tokenizer "$data/tokenizer.json" --quiet >/dev/null && gloss sql -d t.db "SELECT architecture, d_in, max(n_fires) > 0 AS fires FROM source JOIN feature"
gloss export t --to sparsify -o sparsify 2>&1 | head -1
gloss export ts --to saelens -o lens --quiet >/dev/null && ls lens
# gone on with: the same bits, from the same target alone
train --target y --skip --arch batchtopk -o cut --steps 40 >/dev/null
train --target y --skip --arch batchtopk -o cut --steps 60 --resume --extend --quiet >/dev/null
mv y moved
train --target moved --skip --arch batchtopk -o ts --resume | sed 's/:.*//'
mv moved y
python3 - <<'END'
data = bytearray(open("y/acts-00001-of-00002.safetensors", "rb").read())
data[-100000] ^= 1
open("y/acts-00001-of-00002.safetensors", "wb").write(data)
END
train --target y --skip --arch batchtopk -o cut --steps 70 --resume --extend | sed 's/[0-9a-f]\{12\}/HASH/g'
# a crosscoder
train --cross z -o c >/dev/null
gloss inspect c | sed -n '1,2p; /of .* features/,$p' | sed 's/[0-9][0-9]*$/N/; s/tenths:.*/tenths: .../'
gloss inspect c --json | python3 -c "
import json, sys
i = json.load(sys.stdin)
print(i['n_inputs'], i['d_in'], len(i['inputs']['shares']), all(abs(sum(s) - 1) < 1e-5 for s in i['inputs']['shares']))"
gloss eval c x --cross z --json --quiet | python3 -c "
import json, sys
r = json.load(sys.stdin)
i = r['inputs']
print('eval', 0 < r['metrics']['fvu'] < 1, i['n'], sum(i['alone']) + i['shared'] == i['features'])"
gloss eval c x 2>&1 || echo "exit $?"
gloss encode c x --cross z -o c.npz --quiet >/dev/null && echo encoded
gloss export c --to saelens -o lens2 2>&1 | head -1
train --cross z -o c --resume | sed 's/:.*//'
# by the published loss, and as JumpReLU: the fvu of each input in the log, at the end, in eval
for arch in relu jumprelu; do
	dense --cross z --arch $arch -o c_$arch --json >c.json
	gloss inspect c_$arch | head -1
	gloss eval c_$arch x --cross z --json --quiet >e.json
	python3 - c_$arch <<'END'
import json, sys
log = [json.loads(l) for l in open(sys.argv[1] + "/train.jsonl")]
end, eval_ = json.load(open("c.json")), json.load(open("e.json"))
held, last = end["held_out"]["input_fvu"], log[-2]["input_fvu"]
print(log[0]["plan"]["decoder"], len(last), last == end["last"]["input_fvu"], all(0 < v < 1 for v in held + last),
    log[-1]["held_out"]["input_fvu"] == held, eval_["inputs"]["fvu"] == held)
END
done
dense --cross z --arch relu -o c_text | sed -n '/fvu of each/p' | sed 's/[0-9]\.[0-9]*/N/g'
