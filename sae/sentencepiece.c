/* SentencePiece's tokenizer.model: a protobuf message ModelProto, of which only the pieces (field 1) are wanted, each a message
 * with its text (1), score (2) and type (3). Lengths are believed only as far as the message around them goes. */
#include "sae/tokenizer_internal.h"

#include <string.h>

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

typedef struct message {
	const unsigned char *data;
	size_t at, end; /* in data */
	const char *path;
	size_t piece; /* that is being read, for messages */
} message;

typedef struct field {
	uint32_t number;
	unsigned type;
	uint64_t value;   /* VARINT */
	size_t at, bytes; /* BYTES */
} field;

static int broken(const message *m, const char *what, error *err)
{
	return error_set(err, ERR_FORMAT, "'%s' is no SentencePiece model: %s at byte %zu (piece %zu)",
	                 m->path, what, m->at, m->piece);
}

static int read_varint(uint64_t *out, message *m, error *err)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		unsigned char c;
		if (m->at == m->end)
			return broken(m, "it ends inside a number", err);
		c = m->data[m->at++];
		if (shift == 63 && c > 1)
			break;
		value |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			*out = value;
			return 0;
		}
	}
	return broken(m, "a number of over 64 bits", err);
}

/* The next field, whose bytes are stepped over. */
static int next_field(field *f, message *m, error *err)
{
	uint64_t key = 0, size = 0;
	int rc = read_varint(&key, m, err);

	if (rc < 0)
		return rc;
	if (key >> 3 == 0 || key >> 3 > 0x1fffffff)
		return broken(m, "a field of no valid number", err);
	*f = (field){ .number = (uint32_t)(key >> 3), .type = (unsigned)(key & 7) };
	switch (f->type) {
	case VARINT:
		return read_varint(&f->value, m, err);
	case FIXED64:
		size = 8;
		break;
	case FIXED32:
		size = 4;
		break;
	case BYTES:
		rc = read_varint(&size, m, err);
		break;
	default:
		return broken(m, "a field of unknown type", err);
	}
	if (rc == 0 && size > m->end - m->at)
		rc = broken(m, "a field that is longer than what holds it", err);
	if (rc < 0)
		return rc;
	f->at = m->at;
	f->bytes = (size_t)size;
	m->at += f->bytes;
	return 0;
}

/* ---- Pieces -------------------------------------------------------------------------------------------------------- */

void sentencepiece_text(char **out, const char *piece, size_t n, const char *mark)
{
	size_t m = strlen(mark);

	for (size_t i = 0; i < n;)
		if (m && n - i >= m && memcmp(piece + i, mark, m) == 0) {
			*(*out)++ = ' ';
			i += m;
		} else {
			*(*out)++ = piece[i++];
		}
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

	return at ? (int)(at - digits) : -1;
}

bool sentencepiece_byte(char *byte, const char *piece, size_t n)
{
	int high, low;

	if (n != 6 || memcmp(piece, "<0x", 3) != 0 || piece[5] != '>')
		return false;
	high = hex_digit(piece[3]);
	low = hex_digit(piece[4]);
	if (high < 0 || low < 0)
		return false;
	*byte = (char)(unsigned char)(high << 4 | low);
	return true;
}

static int read_piece(field *written, unsigned *type, message *m, const field *outer, error *err)
{
	message in = { .data = m->data,
		       .at = outer->at,
		       .end = outer->at + outer->bytes,
		       .path = m->path,
		       .piece = m->piece };

	*written = (field){ 0 };
	*type = NORMAL;
	while (in.at < in.end) {
		field f;
		int rc = next_field(&f, &in, err);
		if (rc < 0)
			return rc;
		if (f.number == 1 && f.type == BYTES)
			*written = f;
		else if (f.number == 3 && f.type == VARINT)
			*type = f.value <= BYTE ? (unsigned)f.value : 0;
		else if (f.number == 1 || f.number == 3)
			return broken(&in, "text or type of the wrong kind", err);
	}
	if (*type < NORMAL)
		return broken(&in, "a piece of unknown type", err);
	return 0;
}

/* Counts the pieces, or, with room in *t, decodes them. */
static int each_piece(sae_tokenizer *t, size_t *n, message m, error *err)
{
	char *at = t ? t->bytes : NULL;

	for (m.piece = 0; m.at < m.end;) {
		const char *s;
		field f, written;
		unsigned type;
		int rc = next_field(&f, &m, err);
		if (rc < 0)
			return rc;
		if (f.number != 1)
			continue;
		if (f.type != BYTES)
			return broken(&m, "a piece that is no message", err);
		rc = read_piece(&written, &type, &m, &f, err);
		if (rc < 0)
			return rc;
		s = (const char *)m.data + written.at;
		if (type == BYTE && !sentencepiece_byte(&(char){ 0 }, s, written.bytes)) {
			m.at = f.at;
			return broken(&m, "a byte that is not written <0xHH>", err);
		}
		if (t && type == BYTE)
			(void)sentencepiece_byte(at++, s, written.bytes);
		else if (t)
			sentencepiece_text(&at, s, written.bytes,
			                   type == NORMAL || type == USER_DEFINED ? SENTENCEPIECE_BLANK : "");
		if (t) {
			t->special[m.piece] = type == CONTROL || type == UNKNOWN;
			t->start[m.piece + 1] = (uint32_t)(at - t->bytes);
		}
		m.piece++;
	}
	*n = m.piece;
	return 0;
}

int sentencepiece_read(sae_tokenizer *t, const char *data, size_t length, const char *path, error *err)
{
	const message m = { .data = (const unsigned char *)data, .end = length, .path = path };
	size_t n;
	int rc = each_piece(NULL, &n, m, err);

	if (rc == 0 && n == 0)
		rc = error_set(err, ERR_FORMAT, "'%s': the vocabulary is empty", path);
	if (rc == 0)
		rc = tokenizer_room(t, (uint32_t)n, length, err); /* the file has at most 64 MB */
	return rc < 0 ? rc : each_piece(t, &n, m, err);
}
