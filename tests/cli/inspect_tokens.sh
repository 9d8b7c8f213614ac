# Token ids that the vocabulary lacks, and rows that are no numbers.
cat >tokenizer.json <<'END'
{"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":{"a":0,"b":1}}}
END
# activations (4, 2) F32, the third row NaN; tokens (2, 2) U8: 0 1 1 2
printf '\223NUMPY\001\000\073\000%s' "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2), }" >acts.npy
printf '\000\000\200\077\000\000\200\077\000\000\200\077\000\000\000\000' >>acts.npy
printf '\000\000\300\177\000\000\200\077\000\000\000\000\000\000\200\077' >>acts.npy
printf '\223NUMPY\001\000\073\000%s' "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }" >ids.npy
printf '\000\001\001\002' >>ids.npy
gloss inspect acts.npy --tokens ids.npy --quiet --holdout 0
gloss inspect acts.npy --tokens ids.npy --quiet --tokenizer tokenizer.json
gloss inspect acts.npy --tokens ids.npy --quiet --nan fail
