# what eval says of wrong input, one line each
gloss eval 2>&1
gloss eval no_such_sae "$GLOSS_SOURCE/demo/data" 2>&1 || echo "exit $?"
mkdir sae
echo '{"architecture":' >sae/cfg.json; : >sae/sae_weights.safetensors
gloss eval sae "$GLOSS_SOURCE/demo/data" 2>&1 || echo "exit $?"
gloss eval sae "$GLOSS_SOURCE/demo/data" --holdout 2 2>&1 || echo "exit $?"
gloss eval sae "$GLOSS_SOURCE/demo/data" --metric fvuu 2>&1 || echo "exit $?"
