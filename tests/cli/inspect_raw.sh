# Raw files, heads, and what is wrong with them.
cd "$GLOSS_SOURCE/demo/data" || exit 1
dump=$OLDPWD
tail -c 262144 acts-00000-of-00002.safetensors >"$dump/a.bin"
cd "$dump" || exit 1
gloss inspect a.bin --d-in 64 --dtype f16 --ctx-len 256 --quiet --max-norm-ratio 0 | head -3
printf '{"dtype":"float16","shape":[2,256,4,64]}' >a.json
gloss inspect a.bin --quiet --max-norm-ratio 0 | head -4
gloss inspect a.bin --head 3 --quiet --json | grep -o '"d_in":64.*"head":3'
gloss inspect a.bin --head 4 --quiet
gloss inspect a.bin --dtype bf32 --quiet
gloss inspect a.bin --d-in 63 --quiet
rm a.json
gloss inspect a.bin --d-in 63 --dtype f16 --quiet
gloss inspect a.bin --quiet
exit 0
