# an SAE against a truth, SAEs against each other, and what is wrong
gloss synth tree -o tree --rows 20k --quiet >/dev/null
for seed in 0 1; do
	gloss train tree -o sae$seed --features 20 --k 2 --batch 512 --seed $seed --quiet >/dev/null 2>&1
done
gloss match sae0 tree --quiet | sed -E 's/[0-9]\.[0-9]{4}/N/g; s/[0-9.]+ codes a row, [0-9.]+/N codes a row, N/'
gloss match sae0 tree --rows 100 --latents --quiet --json | tr '{' '\n' | grep -c '"latent"'
gloss match sae0 sae0 --quiet | sed -E 's/ 0\.[0-9]{4}/ N/g; s/  +/ /g'
gloss match sae0 sae1 sae0 --quiet --json | tr '{' '\n' | grep -c '"a":'
# the truth's folder without its rows, and with them
mkdir apart && cp -r tree/truth apart/truth
gloss match sae0 apart/truth --dump tree --rows 10 --quiet --json | tr ',' '\n' | grep '"rows"'
gloss match sae0 apart/truth --quiet 2>&1 || echo "exit $?"
gloss match sae0 apart/truth --no-codes --draws 0 --quiet | head -1
# wrong
gloss match sae0 --quiet 2>&1 | head -1
gloss match sae0 none --quiet 2>&1 || echo "exit $?"
gloss match sae0 sae1 tree --quiet 2>&1 || echo "exit $?"
gloss match sae0 sae1 --rows 10 --quiet 2>&1 || echo "exit $?"
gloss match sae0 tree --min-cosine 0.5 --quiet 2>&1 || echo "exit $?"
gloss match sae0 tree --no-codes --rows 10 --quiet 2>&1 || echo "exit $?"
gloss synth planted -o other --rows 100 --quiet >/dev/null
gloss match sae0 other --quiet 2>&1 || echo "exit $?"
gloss match sae0 apart/truth --dump other --quiet 2>&1 || echo "exit $?"
gloss train other -o wide --features 8 --k 2 --batch 32 --quiet >/dev/null 2>&1
gloss match sae0 wide --quiet 2>&1 || echo "exit $?"
printf x | dd of=tree/truth/codes.npz conv=notrunc bs=1 seek=0 2>/dev/null
gloss match sae0 tree --quiet 2>&1 || echo "exit $?"
rm tree/truth/dictionary.safetensors
gloss match sae0 tree --quiet 2>&1 || echo "exit $?"
