# An SAE to other formats and back; what inspect says of each; what is refused.
gloss train "$GLOSS_SOURCE/demo/data" -o sae --features 100 --k 4 --steps 2 --batch 64 --quiet >/dev/null
gloss inspect sae
gloss export sae --to sparsify -o sparsify
gloss inspect sparsify
gloss export sparsify/sae.safetensors --to saelens -o back --json
cmp sae/sae_weights.safetensors back/sae_weights.safetensors && echo the same
gloss export sae --to gemma-scope-2 -o out 2>&1 || echo "exit $?"
gloss export sae --to sparsify -o sparsify 2>&1 || echo "exit $?"
gloss export sae --to sparsify -o sparsify --force
gloss export sae -o out 2>&1 || echo "exit $?"
gloss export sae --to sparsify 2>&1 || echo "exit $?"
gloss export --to sparsify -o out 2>&1 || echo "exit $?"
gloss inspect sparsify --json | tr , '\n'
echo '{"architecture":"transcoder","d_in":576,"d_sae":100}' >sae/cfg.json
gloss eval sae "$GLOSS_SOURCE/demo/data" --quiet 2>&1 || echo "exit $?"
gloss eval sae "$GLOSS_SOURCE/demo/data" --target "$GLOSS_SOURCE/demo/data" --quiet | head -3
gloss train "$GLOSS_SOURCE/demo/data" -o batch --arch batchtopk --features 100 --k 4 --steps 2 --batch 64 --quiet >/dev/null
for format in gemma-scope gemma-scope-2 saelens-gated dictionary-learning openmoss; do
	gloss export batch --to $format -o $format
	gloss inspect $format
	gloss encode $format "$GLOSS_SOURCE/demo/data" -o $format.npz --quiet >/dev/null && echo it encodes
done
rm gemma-scope-2/config.json
gloss inspect gemma-scope-2 2>&1 || echo "exit $?"
gloss encode gemma-scope-2 "$GLOSS_SOURCE/demo/data" -o out.npz 2>&1 || echo "exit $?"
