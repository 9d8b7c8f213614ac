# Contexts of unequal length, by a file of lengths: trained, measured, indexed, verified, encoded.
data=$GLOSS_SOURCE/demo/data
# 64 lengths: 31, 0, 200 and 61 times 8.
printf '\037\000\310' >lengths.bin
i=0
while [ $i -lt 61 ]; do printf '\010' >>lengths.bin; i=$((i + 1)); done
printf '{"dtype":"uint8","shape":[64]}' >lengths.json
gloss inspect "$data" --lengths lengths.bin --quiet | grep -E '^contexts|^rows kept|masked|^documents'
gloss train "$data" --lengths lengths.bin -o sae --features 64 --k 4 --batch 64 --steps 20 --quiet >/dev/null
gloss eval sae "$data" --lengths lengths.bin --quiet | grep 'left out'
gloss index sae "$data" --lengths lengths.bin --tokenizer "$data/tokenizer.json" -d s.db --quiet | grep '^  tokens'
gloss sql -d s.db 'SELECT n_tokens, count(*) AS contexts FROM context GROUP BY 1'
gloss verify s.db sae "$data" --lengths lengths.bin --all --tokenizer "$data/tokenizer.json" --quiet | grep differences
gloss encode sae "$data" --lengths lengths.bin -o codes.npz --quiet | grep 'left out'
gloss index --codes codes.npz "$data" --lengths lengths.bin --tokenizer "$data/tokenizer.json" -d c.db --quiet 2>&1 | sed "s|'$data'|'data'|"
gloss encode sae "$data" --lengths lengths.bin -o cache --format delphi --quiet 2>&1
printf '{"dtype":"uint8","shape":[32,2]}' >lengths.json
gloss inspect "$data" --lengths lengths.bin --quiet
printf '\001' >>lengths.bin
printf '{"dtype":"uint8","shape":[65]}' >lengths.json
gloss inspect "$data" --lengths lengths.bin --quiet
gloss inspect "$data" --mask lengths.bin --quiet
gloss inspect "$data" --roles user --quiet
exit 0
