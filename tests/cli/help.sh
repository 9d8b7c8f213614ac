# The list of commands, the same for every way to ask for it.
gloss help | tee list
for ask in --help -h 'help help'; do
	# shellcheck disable=SC2086
	gloss $ask | cmp - list
done
