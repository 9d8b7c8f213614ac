# The tables and views of a store, as the comments of their SQL describe them, in Markdown.
# usage: awk -f docs/store_tables.awk schemas/sql/[0-9]*.sql     (one file a version, in order)
# Read are: CREATE TABLE and CREATE VIEW with a list of columns, ALTER TABLE ADD COLUMN, DROP TABLE and DROP VIEW. What
# stands for a comment: of a table or view, the lines right before it, or the end of its first line; of columns, the end of
# their line; and a line "-- TABLE.COLUMN: text" says anew what a later version makes of a column.

# The line without its comment, which goes to `comment`.
function uncomment(line,    i, c, quote) {
	comment = ""
	quote = ""
	for (i = 1; i <= length(line); i++) {
		c = substr(line, i, 1)
		if (quote != "")
			quote = c == quote ? "" : quote
		else if (c == "'" || c == "\"")
			quote = c
		else if (c == "-" && substr(line, i, 2) == "--") {
			comment = substr(line, i + 2)
			sub(/^ +/, "", comment)
			line = substr(line, 1, i - 1)
			break
		}
	}
	sub(/[ \t]+$/, "", line)
	return line
}

function begin(name, what) {
	if (!(name in place)) {
		place[name] = ++n_names
		names[n_names] = name
	}
	kind[name] = what
	n_rows[name] = 0
	about[name] = before
	before = ""
}

# One column's definition as it is shown; "" for constraints of the whole table.
function column(definition, view,    name, type, word) {
	gsub(/[ \t]+/, " ", definition)
	sub(/^ /, "", definition)
	if (definition ~ /^(PRIMARY KEY|FOREIGN KEY|UNIQUE|CHECK) *\(/)
		return ""
	name = definition
	if (name ~ /^"/) {
		sub(/^"/, "", name)
		sub(/".*/, "", name)
	} else
		sub(/[^A-Za-z0-9_].*/, "", name)
	shown = shown (shown == "" ? "" : ", ") "`" name "`"
	if (view)
		return name
	split(definition, word, " ")
	type = word[2]
	if (definition !~ /NOT NULL|PRIMARY KEY|GENERATED/)
		type = type " or NULL"
	shown = shown " " type
	if (match(definition, /REFERENCES [a-z_]+/))
		shown = shown " of " substr(definition, RSTART + 11, RLENGTH - 11)
	return name
}

# Add a row: columns as shown, and what they are. `covers` names them.
function add_row(name, shown, text, covers) {
	rows[name, ++n_rows[name]] = shown
	texts[name, n_rows[name]] = text
	covered[name, n_rows[name]] = covers
}

# Characters of a list of columns: a column ends at a comma of the outermost level, or at the end of the list.
function take(line, view,    i, c, name) {
	for (i = 1; i <= length(line); i++) {
		c = substr(line, i, 1)
		if (quoted)
			quoted = c != "'"
		else if (c == "'")
			quoted = 1
		else if (c == "(")
			depth++
		else if (c == ")")
			depth--
		if (depth == 0 || (c == "," && depth == 1 && !quoted)) {
			name = column(definition, view)
			covers = covers (name == "" ? "" : " " name " ")
			definition = ""
			if (depth == 0)
				return substr(line, i + 1)
		} else
			definition = definition c
	}
	definition = definition " "
	return ""
}

function end_row() {
	if (shown == "")
		return
	add_row(current, shown, row_text, covers)
	shown = covers = row_text = ""
}

function markdown(text) {
	gsub(/\|/, "\\|", text)
	gsub(/</, "\\&lt;", text)
	return text
}

FNR == 1 { before = ""; current = ""; head = 1 }
{
	raw = $0
	line = uncomment($0)
}
# The comment at the head of a file is not one of a table.
head && line == "" && raw != "" { next }
head { head = 0; before = "" }

current != "" {
	if (row_text == "" && comment != "")
		row_text = comment
	rest = take(line, kind[current] == "view")
	if (depth == 0 || definition ~ /^[ \t]*$/)
		end_row()
	if (depth == 0) {
		current = ""
		before = ""
	}
	next
}
line == "" && comment ~ /^[a-z_]+\.[a-z_]+: / {
	split(comment, part, /[.:]/)
	again = part[1] SUBSEP part[2]
	anew[again] = substr(comment, length(part[1] part[2]) + 4)
	next
}
line == "" && comment != "" && again != "" { anew[again] = anew[again] " " comment; next }
{ again = "" }
line == "" && comment != "" { before = before (before == "" ? "" : " ") comment; next }
line == "" { before = ""; next }
line ~ /^CREATE (TABLE|VIEW) [a-z_]+ ?\($/ {
	current = $3
	sub(/\(.*/, "", current)
	begin(current, $2 == "VIEW" ? "view" : "table")
	if (comment != "")
		about[current] = comment
	depth = 1
	definition = shown = covers = row_text = ""
	next
}
line ~ /^CREATE VIEW [a-z_]+ AS/ {
	before = comment == "" ? before : comment
	begin($3, "view")
	next
}
line ~ /^CREATE VIRTUAL TABLE/ { begin($4, "full text"); next }
line ~ /^ALTER TABLE [a-z_]+ ADD COLUMN/ {
	definition = line
	sub(/^ALTER TABLE [a-z_]+ ADD COLUMN /, "", definition)
	sub(/;$/, "", definition)
	shown = ""
	covers = " " column(definition, 0) " "
	add_row($3, shown, comment, covers)
	shown = covers = definition = before = ""
	next
}
line ~ /^DROP (TABLE|VIEW) / {
	name = $NF ~ /;$/ ? $NF : $0
	sub(/;.*/, "", name)
	sub(/.* /, "", name)
	delete kind[name]
	before = ""
	next
}
{ before = "" }

END {
	for (i = 1; i <= n_names; i++) {
		name = names[i]
		if (!(name in kind))
			continue
		printf "### %s\n", name
		if (about[name] != "") {
			text = about[name]
			sub(/\.?$/, ".", text)
			print (kind[name] == "table" ? "" : "(" kind[name] ") ") toupper(substr(text, 1, 1)) markdown(substr(text, 2))
		}
		if (n_rows[name] > 0)
			print "\n| columns | |\n|---|---|"
		for (k = 1; k <= n_rows[name]; k++) {
			text = texts[name, k]
			for (key in anew) {
				split(key, part, SUBSEP)
				if (part[1] == name && index(covered[name, k], " " part[2] " "))
					text = anew[key]
			}
			printf "| %s | %s |\n", markdown(rows[name, k]), markdown(text)
		}
		print ""
	}
}
