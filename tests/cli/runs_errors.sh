# what runs says of wrong input, one line each
mkdir empty
gloss runs 2>&1 || echo "exit $?"
gloss runs no_such_folder 2>&1 || echo "exit $?"
gloss runs empty 2>&1 || echo "exit $?"
gloss runs empty . 2>&1 || echo "exit $?"
gloss runs empty --sort loss 2>&1 || echo "exit $?"
gloss runs empty --sort - 2>&1 || echo "exit $?"
gloss runs --follow empty 2>&1 || echo "exit $?"
gloss runs --follow empty empty 2>&1 || echo "exit $?"
gloss runs --follow no_such_folder 2>&1 || echo "exit $?"
touch file
gloss runs file 2>&1 || echo "exit $?"
