# what train says of wrong input, one line each; and that a wrong option leaves nothing behind
data=$GLOSS_SOURCE/demo/data
quick="--features 64 --k 4 --batch 256 --steps 2 --log-every 1 --quiet"
gloss train "$data" 2>&1 || echo "exit $?"
gloss train "$data" -o sae --k 9 --features 8 2>&1 || echo "exit $?"
gloss train "$data" -o sae --decay 2 2>&1 || echo "exit $?"
gloss train "$data" -o sae --steps 2 --tokens 1M 2>&1 || echo "exit $?"
gloss train "$data" -o sae --optimizer-state 16 2>&1 || echo "exit $?"
gloss train "$data" -o sae --kernels mmx 2>&1 || echo "exit $?"
gloss train "$data" -o sae --extend 2>&1 || echo "exit $?"
gloss train "$data" -o sae --force --resume 2>&1 || echo "exit $?"
gloss train "$data" -o sae --patience 3 2>&1 || echo "exit $?"
gloss train "$data" -o sae --eval-every 3 --holdout 0 2>&1 || echo "exit $?"
gloss train "$data" -o sae --checkpoint-minutes -1 2>&1 || echo "exit $?"
gloss train "$data" -o sae --time-limit 4x 2>&1 || echo "exit $?"
gloss train "$data" -o sae --time-limit 0s 2>&1 || echo "exit $?"
gloss train "$data" -o sae --memory-limit 0 2>&1 || echo "exit $?"
gloss train "$data" -o sae --sweep depth=1,2 2>&1 || echo "exit $?"
gloss train "$data" -o sae --sweep k 2>&1 || echo "exit $?"
gloss train "$data" -o sae --sweep k=1,, 2>&1 || echo "exit $?"
gloss train "$data" -o sae --sweep lr=1e-3,0.001 2>&1 || echo "exit $?"
gloss train "$data" -o sae --sweep lr=1e-3,2000 2>&1 || echo "exit $?"
gloss train "$data" -o sae --sweep k=1,2 --sweep k=3 2>&1 || echo "exit $?"
gloss train "$data" -o sae --sweep k=1,2 -k 3 2>&1 || echo "exit $?"
gloss train "$data" -o sae --sweep k=8 2>&1 || echo "exit $?"
gloss train "$data" -o sae --sweep k=8,16 --sweep features=8,16 2>&1 || echo "exit $?"
gloss train "$data" -o sae --sweep k=8,16 --log all.jsonl 2>&1 || echo "exit $?"
gloss train "$data" -o /proc/sae 2>&1 || echo "exit $?"
gloss train no_such_dump -o gone 2>&1 || echo "exit $?"
ls sae 2>&1
ls gone 2>&1
touch sae
gloss train "$data" -o sae/deep 2>&1 || echo "exit $?"
rm sae
# a run, then the folder that holds it
gloss train "$data" -o sae $quick >summary || echo "exit $?"
wc -l <summary
ls sae
gloss train "$data" -o sae $quick 2>&1 || echo "exit $?"
rm sae/cfg.json
gloss train "$data" -o sae $quick 2>&1 || echo "exit $?"
rm -r sae/checkpoint
gloss train "$data" -o sae $quick >/dev/null || echo "exit $?" # a log alone is no run
rm -r sae/checkpoint
gloss train "$data" -o sae $quick --resume 2>&1 || echo "exit $?"
gloss train "$data" -o sae $quick --force >/dev/null || echo "exit $?"
ls sae
wc -l <sae/train.jsonl
gloss train "$data" -o full $quick --log no_such_folder/log 2>&1 || echo "exit $?"
# a run that needs more memory than it may take ends before it takes any; how much depends on the machine
gloss train "$data" -o small --memory-limit 20Mi 2>&1 | sed 's/[0-9][0-9]* MiB:/N MiB:/; s/\([a-z]\) [0-9][0-9]*/\1 N/g'
# a run that never began leaves no folder behind
gloss train no_such_dump -o gone --features 8 --sweep k=2,4 2>&1 || echo "exit $?"
# rows that are all the same
python3 -c "
import struct
header = b'{\"activations\":{\"dtype\":\"F32\",\"shape\":[100,4],\"data_offsets\":[0,1600]}}'
open('same.safetensors', 'wb').write(struct.pack('<Q', len(header)) + header + struct.pack('<4f', 1, 2, 3, 4) * 100)"
gloss train same.safetensors -o gone $quick 2>&1 || echo "exit $?"
mkdir kept
gloss train no_such_dump -o kept $quick 2>&1 || echo "exit $?"
ls -d small gone kept 2>/dev/null || :
