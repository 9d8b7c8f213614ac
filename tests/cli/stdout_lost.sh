# A full disk is an error; a reader that has seen enough is not.
gloss help >/dev/full
echo "exit $?"
{ sleep 0.1; gloss help --man; echo "exit $?" >status; } | true
cat status
