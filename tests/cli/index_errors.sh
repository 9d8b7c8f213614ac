# what index says of wrong input, one line each
gloss index 2>&1
gloss index no_such_sae "$GLOSS_SOURCE/demo/data" 2>&1 || echo "exit $?"
gloss index no_such_sae "$GLOSS_SOURCE/demo/data" -d a.db 2>&1 || echo "exit $?"
vocabulary=$GLOSS_SOURCE/demo/data/tokenizer.json
gloss index no_such_sae "$GLOSS_SOURCE/demo/data" -d a.db --tokenizer "$vocabulary" 2>&1 || echo "exit $?"
gloss train "$GLOSS_SOURCE/demo/data" -o sae --features 64 --k 4 --batch 256 --steps 2 --quiet >/dev/null 2>&1 || echo "train failed"
gloss index sae no_such_dump -d a.db --tokenizer "$vocabulary" 2>&1 || echo "exit $?"
gloss index sae "$GLOSS_SOURCE/demo/data" -d a.db --tokenizer sae/cfg.json 2>&1 || echo "exit $?"
gloss index sae "$GLOSS_SOURCE/demo/data" -d no_such_folder/a.db --tokenizer "$vocabulary" 2>&1 || echo "exit $?"
gloss index sae "$GLOSS_SOURCE/demo/data" -d sae/cfg.json --tokenizer "$vocabulary" 2>&1 || echo "exit $?"
gloss index sae "$GLOSS_SOURCE/demo/data" -d a.db --tokenizer "$vocabulary" --unembed sae/sae_weights.safetensors --quiet 2>&1 || echo "exit $?"
ls # nothing is left behind by the ones above
