# One line each, with what may have been meant.
gloss hepl
echo "exit $?"
gloss banana
echo "exit $?"
gloss "$(printf 'bad\033[31m')"
echo "exit $?"
gloss help banana
echo "exit $?"
gloss help two words
echo "exit $?"
