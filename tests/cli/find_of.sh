# What describes a feature; a character over two tokens, Japanese, and Hebrew in the place of " ran".
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
sqlite3 small.db "UPDATE context SET text = replace(text, ' ran', ' ר1'); UPDATE vocab SET text = ' ר1', bytes = CAST(' ר1' AS BLOB) WHERE text = ' ran'"
gloss find -d small.db --of 0 -n 2
gloss find -d small.db --of 4 -n 3
gloss find -d small.db --of 1 -n 3
gloss find -d small.db --of 5 -n 2
gloss find -d small.db --of 3
gloss find -d small.db --of 7 -n 1 --json
