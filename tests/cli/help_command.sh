# A command's help comes on stdout, the same by every way to it, before anything else is looked at.
gloss inspect --help >one
echo "exit $?"
gloss help inspect | cmp - one
gloss inspect nowhere -h --threads many | cmp - one
sed -n '1p; /^options:/p; /^options of every command:/,/^$/p' one
