# what probe says of wrong labels and options, one line each
data=$GLOSS_SOURCE/demo/data
gloss train "$data" -o sae --features 64 --k 8 --batch 256 --steps 4 --quiet >/dev/null 2>&1
probe() { gloss probe sae "$data" --quiet "$@" 2>&1 || echo "exit $?"; }
labels() { awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) print i % 2 ? "odd" : "even" }'; }
probe
probe --labels none.csv
labels 63 >short.csv
probe --labels short.csv
probe --labels short.csv --per context
{ echo class; labels 64; } >header.csv
probe --labels header.csv
probe --labels header.csv --per row
probe --labels header.csv --column kind
awk 'BEGIN { for (i = 0; i < 64; i++) print "one" }' >one.csv
probe --labels one.csv
awk 'BEGIN { for (i = 0; i < 64; i++) print "" }' >empty.csv
probe --labels empty.csv
awk 'BEGIN { for (i = 0; i < 64; i++) print i == 5 ? "rare" : "common" }' >rare.csv
probe --labels rare.csv
labels 64 >good.csv
{ head -5 good.csv; printf 'caf\351\n'; } >latin1.csv
probe --labels latin1.csv
{ head -2 good.csv; echo '"never ends'; } >quote.csv
probe --labels quote.csv
{ head -2 good.csv; echo 'a,b'; } >fields.csv
probe --labels fields.csv
awk 'BEGIN { for (i = 0; i < 1001; i++) print i }' >many.csv
probe --labels many.csv
npy() { # SHAPE DTYPE HEX: a .npy
	python3 -c "
import sys
h = \"{'descr': '$2', 'fortran_order': False, 'shape': $1, }\"
h = h.ljust(117) + '\n'
sys.stdout.buffer.write(b'\x93NUMPY\x01\x00' + len(h).to_bytes(2, 'little') + h.encode() + bytes.fromhex('$3'))"
}
npy '(2,)' '<f4' 0000803f0000c07f >nan.npy
probe --labels nan.npy
npy '(2,)' '<f4' 0000003f0000803f >half.npy
probe --labels half.npy
npy '(1, 2)' '|u1' 0001 >two.npy
probe --labels two.npy
npy '(2,)' '|u1' 00 >cut.npy
probe --labels cut.npy
probe --labels nan.npy --column x
probe --labels good.csv --class third
probe --labels good.csv -k 0
probe --labels good.csv -k two
probe --labels good.csv --test 1
probe --labels good.csv -C 0
probe --labels good.csv --pool median
probe --labels good.csv -o none/predictions.csv
labels 63 >short.csv
probe --labels good.csv --spurious short.csv
probe --labels good.csv --spurious good.csv
probe --labels good.csv --tpp
awk 'BEGIN { for (i = 0; i < 64; i++) print i % 3 }' >three.csv
probe --labels good.csv --spurious three.csv
probe --labels three.csv --tpp --ablate 65
probe --labels three.csv --tpp --pool max
