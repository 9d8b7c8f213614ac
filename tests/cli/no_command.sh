# Without a command: the list, as an error.
gloss 2>list
code=$?
gloss help | cmp - list
exit $code
