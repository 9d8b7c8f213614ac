/* base: what every other folder stands on. Errors, memory, text, JSON, hashes, threads, clock, progress, CPU, files.
 * Nothing here prints (but the progress line, to the stream it is given) or exits. */
#ifndef GLOSS_BASE_H
#define GLOSS_BASE_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#define MUST_USE               __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_LEN(a)           (sizeof(a) / sizeof((a)[0]))

/* ---- Errors (error.c) ---------------------------------------------------------------------------------------- */

/* Every function that can fail returns 0 or one of these. */
enum {
	ERR_NOMEM = -1,    /* an allocation failed */
	ERR_IO = -2,       /* the system refused: open, read, write, sync, rename */
	ERR_FORMAT = -3,   /* a file or reply is not what it should be */
	ERR_ARG = -4,      /* an argument or option is out of range or does not go with another */
	ERR_NOTFOUND = -5, /* a named thing is not there */
	ERR_EXISTS = -6,   /* a thing that must not be there is */
	ERR_LIMIT = -7,    /* a stated maximum was passed: size, depth, time */
	ERR_NET = -8,      /* an endpoint could not be reached or broke off */
	ERR_REFUSED = -9,  /* an endpoint refused for good: 401, 402, 403 */
	ERR_BUSY = -10,    /* somebody else holds it */
	ERR_STOPPED = -11  /* a signal or a callback asked to stop; what was done is kept */
};

typedef struct error {
	int code;      /* 0 or an ERR_ */
	char msg[512]; /* lower case, no full stop, cause first, names in quotes */
} error;               /* fixed size: reporting never allocates; start with {0} */

/* Fill *e (when not NULL) and return `code`. */
int error_set(error *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same, with ": " and strerror(err) behind the text; ERR_NOMEM for ENOMEM, else ERR_IO. */
int error_errno(error *e, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "out of memory" for `what`. */
int error_nomem(error *e, const char *what);

/* ---- Arena (arena.c) ----------------------------------------------------------------------------------------- */

/* Many small things with one lifetime (a prompt, a page of rows). Nothing in it is freed alone. */
typedef struct arena {
	struct arena_block *head;
	size_t block_size; /* bytes asked of malloc at a time; 0: 64 KiB */
} arena;
#define ARENA_INIT                                                                                           \
	{                                                                                                    \
		NULL, 0                                                                                      \
	}

/* Zeroed, 64-byte aligned; NULL: no memory, or count * size overflows. */
void *arena_alloc(arena *a, size_t count, size_t size) MUST_USE;
/* Large allocations (a quarter MB and more) are address space until they are written to: the thread that first writes to
 * a page decides on which memory node it lies, and what is asked for can be added up before any of it is used. */
size_t arena_bytes(const arena *a); /* asked of the system so far */
char *arena_strdup(arena *a, const char *s) MUST_USE;
char *arena_memdupz(arena *a, const void *p, size_t n) MUST_USE; /* a NUL is put behind */
void arena_clear(arena *a);                                      /* frees all; usable again */

/* 64-byte aligned, zeroed, count * size checked; NULL on failure. For the large buffers. Free with free(). */
void *mem_alloc_aligned(size_t count, size_t size) MUST_USE;
/* The memory's contents are not needed any more: its whole pages go back to the system and read as zeros when used again.
 * It stays allocated. */
void mem_forget(void *p, size_t bytes);
/* Give back what free() kept, so that cpu_memory_anonymous() says what is in use. */
void mem_trim(void);
/* realloc for arrays that grow: *p holds *cap elements of `size` bytes; makes room for `need`. 0 or ERR_NOMEM (then
 * *p and *cap are as before). */
int mem_grow(void *p_to_pointer, size_t *cap, size_t need, size_t size) MUST_USE;

/* ---- Text (text.c) ------------------------------------------------------------------------------------------- */

/* Bytes that grow up to a maximum; always NUL-terminated once something was added. An addition that would pass `max`
 * changes nothing and returns ERR_LIMIT. */
typedef struct text {
	char *data; /* NULL until the first addition */
	size_t len, cap, max;
} text;
void text_init(text *t, size_t max);
void text_clear(text *t); /* len = 0, memory kept */
void text_free(text *t);
int text_add(text *t, const void *bytes, size_t n) MUST_USE;
int text_adds(text *t, const char *s) MUST_USE;
int text_addf(text *t, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_USE;
int text_addv(text *t, const char *fmt, va_list args) PRINTF_LIKE(2, 0) MUST_USE;
/* Adds the bytes with every ill-formed UTF-8 sequence and NUL replaced by U+FFFD: what a TEXT column may hold. */
int text_add_utf8(text *t, const void *bytes, size_t n) MUST_USE;
/* Adds the bytes made safe and visible for a terminal: as text_add_utf8, and newline as U+21B5, tab as U+21E5, other
 * C0/C1 controls, DEL, bidirectional marks and line/paragraph separators as <U+XXXX>. */
int text_add_visible(text *t, const void *bytes, size_t n) MUST_USE;
/* Adds the bytes as a JSON string with its quotes; ill-formed UTF-8 and NUL become U+FFFD. */
int text_add_json(text *t, const void *utf8, size_t n) MUST_USE;
/* Columns that `n` bytes of UTF-8 take on a terminal (wide characters 2, combining ones 0). */
size_t text_columns(const char *utf8, size_t n);
/* Length (1-4) of the well-formed UTF-8 sequence at p, at most n bytes; 0: ill-formed or cut. *cp gets the code point. */
size_t utf8_next(const char *p, size_t n, uint32_t *cp);
bool utf8_is_valid(const char *p, size_t n); /* all of it */

/* The number of single-letter changes (insert, drop, replace, swap) from a to b, capped at 64 letters each. */
unsigned text_edit_distance(const char *a, const char *b);
/* Whether `name` is close enough to `typed` to be meant: a prefix of it, or a third of its letters away. Lower is
 * closer; UINT_MAX: not meant. */
unsigned text_likeness(const char *typed, const char *name);

/* ---- JSON (json.c) ------------------------------------------------------------------------------------------- */

/* Parse one JSON value (RFC 8259, whole input, UTF-8).
 *   out      set only on success; the caller frees it with cJSON_Delete()
 *   what     names the input in the error ("cfg.json")
 * ERR_LIMIT: over max_bytes or nested deeper than max_depth (checked before anything is built); ERR_FORMAT: not JSON
 * (the message says at which byte); ERR_NOMEM. */
int json_parse(cJSON **out, const char *data, size_t len, size_t max_bytes, unsigned max_depth,
               const char *what, error *err) MUST_USE;
/* Reads and parses a file of at most max_bytes, depth at most 64. ERR_IO also when it cannot be read. */
int json_read_file(cJSON **out, const char *path, size_t max_bytes, error *err) MUST_USE;

/* Members of an object. The value must have the type asked for, else ERR_FORMAT naming `key` and `what`; an absent (or
 * null) member leaves *out untouched and returns 0, so *out holds the default. Strings point into the tree. */
int json_get_string(const char **out, const cJSON *obj, const char *key, const char *what,
                    error *err) MUST_USE;
int json_get_double(double *out, const cJSON *obj, const char *key, const char *what, error *err) MUST_USE;
int json_get_u64(uint64_t *out, const cJSON *obj, const char *key, const char *what, error *err) MUST_USE;
int json_get_bool(bool *out, const cJSON *obj, const char *key, const char *what, error *err) MUST_USE;

/* Print compact; NaN and infinities as null; integers up to 2^53 exactly, doubles so that they read back the same.
 * The caller frees with free(). NULL: no memory. */
char *json_print(const cJSON *value) MUST_USE;
/* Print with sorted keys and no spaces: equal values give equal bytes (for hashing). As json_print otherwise. */
char *json_print_canonical(const cJSON *value) MUST_USE;

/* Check `value` against a JSON Schema of the subset we use: type (one or a list), properties, required,
 * additionalProperties false or a schema, items, minItems, maxItems, minLength, maxLength, minimum, maximum, enum,
 * const, pattern excluded. A keyword outside the subset is ERR_ARG (never silently passed), so a schema of ours that
 * uses one fails its test. ERR_FORMAT: the message gives the JSON Pointer of the first mismatch and what was wanted. */
int json_schema_check(const cJSON *schema, const cJSON *value, error *err) MUST_USE;

/* ---- Hashes and random numbers (hash.c) ------------------------------------------------------------------------ */

#define SHA256_HEX 65 /* 64 digits and a NUL */
typedef struct sha256 {
	void *ctx; /* libcrypto's EVP_MD_CTX */
} sha256;
int sha256_init(sha256 *h, error *err) MUST_USE;
void sha256_add(sha256 *h, const void *p, size_t n);
void sha256_end(sha256 *h, char hex[SHA256_HEX]); /* also frees; call once after a successful init */
int sha256_bytes(char hex[SHA256_HEX], const void *p, size_t n, error *err) MUST_USE;
int sha256_file(char hex[SHA256_HEX], const char *path, error *err) MUST_USE;

/* A 64-bit hash of bytes, the same on every machine and for ever (it keys stored samples). Not cryptographic. */
uint64_t hash64(const void *p, size_t n, uint64_t seed);
/* A 64-bit mix of two words: the counter-based random generator of the program. Uniform and independent over
 * (seed, counter); the same everywhere. */
uint64_t hash64_mix(uint64_t seed, uint64_t counter);
/* Uniform in [0, 1) from 53 bits; and in [0, n) without bias worth speaking of (n < 2^32). */
double hash64_unit(uint64_t h);
uint64_t hash64_below(uint64_t h, uint64_t n);
/* A keyed permutation of 0..n-1 (cycle-walking Feistel network): where i goes under `key`. n >= 1, i < n. */
uint64_t hash64_permute(uint64_t i, uint64_t n, uint64_t key);

/* ---- Common runs of tokens (token_runs.c) ------------------------------------------------------------------------ */

/* Sets of the numbers 0..n-1: parent[i] <= i, the root of a set is its smallest; at first parent[i] = i. */
uint32_t sets_find(uint32_t *parent, uint32_t i);
void sets_join(uint32_t *parent, uint32_t a, uint32_t b);

typedef struct token_runs {  /* contexts to look through, several times */
	uint32_t n, longest; /* contexts; tokens of the longest */
	uint64_t n_tokens;   /* of all */
	/* The tokens of a context and their number. */
	int (*read)(void *payload, uint32_t context, uint32_t *tokens /* (longest) */, uint32_t *n,
	            error *err);
	void *payload;
} token_runs;
/* Join, in parent (n), all contexts that have `run` tokens in a row in common. */
int token_runs_join(uint32_t *parent, const token_runs *from, uint32_t run, error *err) MUST_USE;

/* ---- Threads (pool.c) ----------------------------------------------------------------------------------------- */

typedef struct pool pool;
/* `threads` workers in all, the caller of pool_run counted as one; 0: cpu_count(). */
int pool_new(pool **out, unsigned threads, error *err) MUST_USE;
void pool_free(pool *p);
unsigned pool_threads(const pool *p);
/* Run task(payload, i, worker) for i in 0..n-1, each once, on any worker in any order, and return when all are done. Runs
 * of as many tasks give task i to the same worker each time, where none falls behind: memory stays near who uses it.
 * worker is 0..threads-1, for scratch space; never make a result depend on it. Not reentrant. */
void pool_run(pool *p, size_t n, void (*task)(void *payload, size_t i, unsigned worker), void *payload);
/* For benchmarks: `watch` is called behind each task, by the worker that ran it. Not while a run goes on; NULL: no more. */
typedef struct pool_event {
	uint64_t run; /* counts the calls of pool_run */
	size_t task;  /* i */
	unsigned worker;
	double start, end; /* clock_now() */
} pool_event;
void pool_watch(pool *p, void (*watch)(void *payload, const pool_event *e), void *payload);

/* ---- Clock, stop flag and progress (clock.c, progress.c) -------------------------------------------------------- */

double clock_now(void);                                 /* seconds, monotonic */
int64_t clock_unix(void);                               /* seconds since 1970, UTC */
void clock_iso8601(char out[32], int64_t unix_seconds); /* "2026-11-24T13:25:00Z" */

/* One line that says how far a long job is. On a terminal it is redrawn at most 6 times a second and cleared at the end;
 * elsewhere one line a minute. Silent when `to` is NULL. */
typedef struct progress {
	FILE *to;
	const char *what, *unit; /* "train", "tokens" */
	uint64_t total;          /* 0: not known */
	bool is_tty;
	double started, drawn;
	uint64_t first; /* `done` of the first update: the rate of a resumed job counts from there */
	int width;
} progress;
void progress_start(progress *p, FILE *to, const char *what, const char *unit, uint64_t total);
/* `note` (may be NULL) is shown behind rate and time left, e.g. "fvu 0.31 l0 32.0". */
void progress_update(progress *p, uint64_t done, const char *note);
void progress_end(progress *p);

/* ---- CPU (cpu.c) ------------------------------------------------------------------------------------------------ */

enum {
	CPU_AVX2 = 1,
	CPU_FMA = 2,
	CPU_F16C = 4,
	CPU_AVX512F = 8,
	CPU_AVX512BW = 16,
	CPU_AVX512DQ = 32,
	CPU_AVX512VL = 64,
	CPU_AVX512VNNI = 128
};
unsigned cpu_features(void); /* CPU_ bits that both the processor and the system support */
const char *cpu_name(void);  /* the processor's own name, for records */
unsigned cpu_count(void); /* CPUs this process may use: affinity and cgroup quota (rounded up), at least 1 */
/* Bytes this process may use: the smaller of physical memory and the cgroup's limit. */
uint64_t cpu_memory_limit(void);
/* Bytes of memory in use now that no file backs, and the most the process ever had resident, libraries and all; 0: the
 * system does not tell. */
uint64_t cpu_memory_anonymous(void);
uint64_t cpu_memory_peak(void);

/* ---- Files (file.c, folder.c, gzip.c) and fault points (fault.c) --------------------------------------------------------------------- */

#define FILE_PATH_MAX 4096

/* The whole of a file of at most max_bytes, with a NUL behind (not counted). The caller frees *data. */
int file_read(char **data, size_t *len, const char *path, size_t max_bytes, error *err) MUST_USE;
/* Exactly n bytes at `offset`; ERR_FORMAT when the file ends before: "'x' ended at byte N, M were expected". */
int file_pread(int fd, void *buf, size_t n, uint64_t offset, const char *path, error *err) MUST_USE;
int file_open_read(int *fd, uint64_t *size, const char *path, error *err) MUST_USE;
bool file_exists(const char *path);
bool file_is_dir(const char *path);
int file_mkdir(const char *path, error *err) MUST_USE; /* parents too; an existing folder is fine */
/* dir + "/" + name into out[FILE_PATH_MAX]; ERR_LIMIT when it does not fit. */
int file_join(char out[FILE_PATH_MAX], const char *dir, const char *name, error *err) MUST_USE;
/* The last component of a path. */
const char *file_base(const char *path);

/* Sync an open file, rename it from `tmp` to `path` and sync the folder: whatever happens, `path` is the old file or the whole
 * new one. */
int file_replace(int fd, const char *tmp, const char *path, error *err) MUST_USE;
/* Bytes free for this process on the file system of `path`, or of the first folder above it that is there. */
int file_space(uint64_t *bytes, const char *path, error *err) MUST_USE;

/* The file system that a file, or the folder of one that is not there, lies on. Where the system does not tell, a local one.
 * GLOSS_MOUNTINFO, for tests, names a file to read instead of /proc/self/mountinfo. */
typedef struct file_mount {
	char type[32]; /* "ext4", "nfs4" */
	bool remote;   /* other machines may write there too */
	bool locks;    /* and see the locks taken here */
} file_mount;
void file_mount_get(file_mount *out, const char *path);

/* A file written under a temporary name beside `path` (".part"), synced and renamed on commit: readers see the old file
 * or the whole new one. Every way out is commit or abort. */
typedef struct file_writer {
	int fd;
	char path[FILE_PATH_MAX], tmp[FILE_PATH_MAX];
	unsigned char *buf;
	size_t used;
	uint64_t written; /* bytes so far, buffered ones counted */
} file_writer;
int file_writer_open(file_writer *w, const char *path, error *err) MUST_USE;
int file_writer_add(file_writer *w, const void *p, size_t n, error *err) MUST_USE;
int file_writer_commit(file_writer *w, error *err) MUST_USE; /* on failure the temporary file is gone */
void file_writer_abort(file_writer *w);                      /* fine after commit, and on a zeroed struct */
int file_write(const char *path, const void *p, size_t n, error *err) MUST_USE; /* the three in one */

/* A file written gzip-compressed, as a file_writer otherwise: whole or not at all. No name and time within: equal bytes for equal
 * bytes. Every way out is commit or abort. level: 1 (fast) to 9. */
typedef struct gzip_writer {
	file_writer file; /* file.written: compressed bytes so far */
	struct gzip_state *state;
} gzip_writer;
int gzip_writer_open(gzip_writer *w, const char *path, int level, error *err) MUST_USE;
int gzip_writer_add(gzip_writer *w, const void *p, size_t n, error *err) MUST_USE;
int gzip_writer_commit(gzip_writer *w, error *err) MUST_USE;
void gzip_writer_abort(gzip_writer *w); /* fine after commit, and on a zeroed struct */

/* A file, gzip-compressed or not, line by line. */
typedef struct line_reader line_reader;
int line_reader_open(line_reader **out, const char *path, size_t max_line, error *err) MUST_USE;
/* *more: there was one. *line (with a NUL behind, without its line end) lives until the next call. ERR_LIMIT: over max_line
 * bytes; ERR_FORMAT: broken or cut gzip data; both name file and line. */
int line_reader_next(line_reader *r, const char **line, size_t *len, bool *more, error *err) MUST_USE;
uint64_t line_reader_number(const line_reader *r); /* of the last line, from 1 */
void line_reader_close(line_reader *r);            /* NULL is fine */

/* A folder of files made under a temporary name beside `path` (".part") and renamed on commit: it appears whole or not at all.
 * Every way out is commit or abort. */
typedef struct folder_writer {
	char path[FILE_PATH_MAX], tmp[FILE_PATH_MAX]; /* write files into `tmp` */
	bool replaces;                                /* a folder is there, to be replaced */
} folder_writer;
enum { FOLDER_FORCE = 1, FOLDER_DEEP = 2 };
/* A folder that is there must be empty, or with FOLDER_FORCE hold nothing but regular files with names that end in `ending`, or
 * one of several apart by '|' (with FOLDER_DEEP also folders of such). ERR_EXISTS: it is not so, or no folder. */
int folder_writer_open(folder_writer *w, const char *path, const char *ending, unsigned flags,
                       error *err) MUST_USE;
int folder_writer_commit(folder_writer *w, error *err) MUST_USE; /* on failure the temporary folder is gone */
void folder_writer_abort(folder_writer *w); /* fine after commit, and on a zeroed struct */
void folder_remove(const char *path);       /* and all in it, as far as that can be done */

/* A shared library that is loaded when a function of it is first called, so that commands which never call one do not wait for it
 * and for the libraries it brings (libcurl: 3 ms, OpenBLAS: 2 ms and its threads; all else that `gloss features` does takes about 10).
 * LATE(LIBRARY, double, sqrt, (double x), (x)) defines what math.h declares; calls are written as ever. LATE_VOID: the same for what
 * returns nothing. A missing library ends the program with one line and status 127, as the dynamic linker does at its start. */
typedef void (*late_function)(void);
late_function late_find(_Atomic(late_function) *at, const char *library, const char *name);
#define LATE_CALL(library, type, name, parameters)                                                           \
	static _Atomic(late_function) at;                                                                    \
	type(*call) parameters = (type(*) parameters)late_find(&at, library, #name);
#define LATE(library, type, name, parameters, arguments)                                                     \
	type(name) parameters                                                                                \
	{                                                                                                    \
		LATE_CALL(library, type, name, parameters)                                                   \
		return call arguments;                                                                       \
	}
#define LATE_VOID(library, name, parameters, arguments)                                                      \
	void(name) parameters                                                                                \
	{                                                                                                    \
		LATE_CALL(library, void, name, parameters)                                                   \
		call arguments;                                                                              \
	}

/* Fault points: the tests make the nth call of a kind fail. Reads, writes and syncs of this header's functions (and of
 * HTTP replies in explain/) pass through fault_hit(); allocations through the wrapper in tests/support_alloc.c. In normal
 * use nothing is armed and a call costs one load. Also armed by the variable GLOSS_FAULT=KIND:N for whole-program tests. */
typedef enum fault_kind {
	FAULT_ALLOC,
	FAULT_READ,
	FAULT_WRITE,
	FAULT_SYNC,
	FAULT_HTTP,
	FAULT_KINDS
} fault_kind;
void fault_arm(fault_kind kind, long nth); /* the nth (from 0) next one fails */
bool fault_disarm(fault_kind kind);        /* whether it had struck */
bool fault_hit(fault_kind kind);           /* at the point: whether to fail now */
void fault_arm_env(void);                  /* read GLOSS_FAULT; called once by main() */

#endif
