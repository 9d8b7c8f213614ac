# One line for each thing that is wrong.
cd "$GLOSS_SOURCE/demo" || exit 1
gloss inspect nothing --quiet
gloss inspect 'no*thing' --quiet
gloss inspect README.md --quiet
gloss inspect data --key none --quiet
gloss inspect data --ctx-len 7 --quiet
gloss inspect data --exclude-tokens 1,x --quiet
gloss inspect data --tokenizer data/dump.json --quiet
gloss inspect data --manifest data/none.json --quiet
gloss inspect
exit 0
