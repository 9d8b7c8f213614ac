# The shipped dump, as text and as JSON.
cd "$GLOSS_SOURCE/demo" || exit 1
gloss inspect data --tokenizer data/tokenizer.json --quiet
gloss inspect 'data/acts-*.safetensors' --json --quiet --threads 2 --split tail
