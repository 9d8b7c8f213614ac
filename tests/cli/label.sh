# A person's labels: added, withdrawn, many at once; the history keeps all.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
timeless() { sed 's/2[0-9]*-[0-9]*-[0-9]*T[0-9:]*Z/TIME/g'; }
gloss label 0 -d small.db
gloss label 0 -d small.db '  my cats ' | timeless
gloss features -d small.db --limit 1
gloss label 0 -d small.db --undo | timeless
gloss features -d small.db --limit 1
gloss label 1 -d small.db
gloss label 1 -d small.db 'after "the"' --json | timeless
printf '\357\273\2771\tarticles, and what follows\r\n\n6\tanimals: 猫, dog\n3\tnever\n' >labels.tsv
gloss label -d small.db --from labels.tsv
printf '4\tpart of a character' | gloss label -d small.db --from - --json
gloss features -d small.db --where "label_method = 'person'"
gloss find -d small.db --text articles
gloss label 1 -d small.db --undo | timeless
gloss find -d small.db --text articles
gloss label 1 -d small.db --undo | timeless
gloss features -d small.db --where "label IS NULL" --limit 1
