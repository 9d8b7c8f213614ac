/* The scripted server: libmicrohttpd on port 0, a thread a connection, so that slow replies hold up nobody else. */
#include "tests/support_llm.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SEEN_MAX = 4096 };

struct llm_server {
	struct MHD_Daemon *daemon;
	pthread_mutex_t lock, answering;
	const llm_reply *script;
	size_t n_script;
	llm_reply (*answer)(const llm_seen *request, void *payload);
	void *payload;
	llm_seen seen[SEEN_MAX];
	double when[SEEN_MAX];
	size_t n_seen;
	unsigned now, most;
	atomic_uint connections;
	char url[64];
	char *key; /* of TLS */
};

typedef struct upload {
	char *body;
	size_t len;
} upload;

static char *copy(const char *s)
{
	return s ? strdup(s) : NULL;
}

static void forget(llm_seen *seen)
{
	free(seen->method);
	free(seen->path);
	free(seen->authorization);
	free(seen->type);
	free(seen->body);
	free(seen->after);
}

static llm_seen read_seen(struct MHD_Connection *c, const char *method, const char *path, upload *u)
{
	llm_seen seen = { .method = copy(method),
		          .path = copy(path),
		          .authorization =
		                  copy(MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization")),
		          .type = copy(MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Type")),
		          .body = u->body ? u->body : strdup(""),
		          .after = copy(MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "after")) };

	u->body = NULL;
	return seen;
}

/* Its number; those from SEEN_MAX on are not kept. */
static size_t record(llm_server *s, const llm_seen *seen)
{
	size_t i;

	pthread_mutex_lock(&s->lock);
	i = s->n_seen++;
	if (i < SEEN_MAX) {
		s->seen[i] = *seen;
		s->when[i] = clock_now();
	}
	if (++s->now > s->most)
		s->most = s->now;
	pthread_mutex_unlock(&s->lock);
	return i;
}

typedef struct halves {
	char *data;
	size_t len;
} halves;

static ssize_t half_read(void *payload, uint64_t at, char *buf, size_t max)
{
	halves *h = payload;
	size_t left;

	if (at >= h->len)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	left = h->len - (size_t)at;
	if (left > max)
		left = max;
	memcpy(buf, h->data + at, left);
	return (ssize_t)left;
}

static void half_free(void *payload)
{
	halves *h = payload;

	free(h->data);
	free(h);
}

static struct MHD_Response *make_response(const llm_reply *r)
{
	const char *body = r->own ? r->own : r->body ? r->body : "";
	size_t n = strlen(body);
	halves *h;
	char *x;

	if (r->fill) {
		x = malloc(r->fill);
		memset(x, 'x', r->fill);
		return MHD_create_response_from_buffer(r->fill, x, MHD_RESPMEM_MUST_FREE);
	}
	if (!r->cut)
		return MHD_create_response_from_buffer(n, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
	h = malloc(sizeof(*h));
	h->data = strdup(body);
	h->len = n;
	return MHD_create_response_from_callback(2 * n, 4096, half_read, h, half_free);
}

static enum MHD_Result reply_with(struct MHD_Connection *c, const llm_reply *r)
{
	struct MHD_Response *response = make_response(r);
	enum MHD_Result done;

	MHD_add_response_header(response, "Content-Type", r->type ? r->type : "application/json");
	if (r->retry_after)
		MHD_add_response_header(response, "Retry-After", r->retry_after);
	for (const char *m = r->more, *colon, *end; m && (end = strchr(m, '\n')); m = end + 1) {
		char name[64], value[64];

		colon = strchr(m, ':');
		snprintf(name, sizeof(name), "%.*s", (int)(colon - m), m);
		snprintf(value, sizeof(value), "%.*s", (int)(end - colon - 2), colon + 2);
		MHD_add_response_header(response, name, value);
	}
	if (r->location)
		MHD_add_response_header(response, "Location", r->location);
	done = MHD_queue_response(c, r->status ? (unsigned)r->status : 200, response);
	MHD_destroy_response(response);
	return done;
}

static void wait_seconds(double seconds)
{
	struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

	if (seconds > 0)
		nanosleep(&t, NULL);
}

static enum MHD_Result handle(void *payload, struct MHD_Connection *c, const char *path, const char *method,
                              const char *version, const char *data, size_t *size, void **state)
{
	llm_server *s = payload;
	upload *u = *state;
	llm_reply r;
	llm_seen seen;
	enum MHD_Result done;
	size_t i;

	(void)version;
	if (!u) {
		*state = calloc(1, sizeof(*u));
		return MHD_YES;
	}
	if (*size) {
		u->body = realloc(u->body, u->len + *size + 1);
		memcpy(u->body + u->len, data, *size);
		u->len += *size;
		u->body[u->len] = '\0';
		*size = 0;
		return MHD_YES;
	}
	seen = read_seen(c, method, path, u);
	i = record(s, &seen);
	if (s->answer) {
		pthread_mutex_lock(&s->answering);
		r = s->answer(&seen, s->payload);
		pthread_mutex_unlock(&s->answering);
	} else {
		r = s->script[i < s->n_script ? i : s->n_script - 1];
	}
	wait_seconds(r.delay);
	done = reply_with(c, &r);
	free(r.own);
	if (i >= SEEN_MAX)
		forget(&seen);
	pthread_mutex_lock(&s->lock);
	s->now--;
	pthread_mutex_unlock(&s->lock);
	return done;
}

static void completed(void *payload, struct MHD_Connection *c, void **state,
                      enum MHD_RequestTerminationCode why)
{
	upload *u = *state;

	(void)payload;
	(void)c;
	(void)why;
	if (u)
		free(u->body);
	free(u);
	*state = NULL;
}

static void connected(void *payload, struct MHD_Connection *c, void **state,
                      enum MHD_ConnectionNotificationCode what)
{
	llm_server *s = payload;

	(void)c;
	(void)state;
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		atomic_fetch_add(&s->connections, 1);
}

static llm_server *start(llm_server *s, char *const *tls)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const union MHD_DaemonInfo *info;

	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->answering, NULL);
	s->daemon = MHD_start_daemon(
	        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | (tls ? MHD_USE_TLS : 0), 0,
	        NULL, NULL, handle, s, MHD_OPTION_SOCK_ADDR, &at, MHD_OPTION_NOTIFY_COMPLETED, completed,
	        NULL, MHD_OPTION_NOTIFY_CONNECTION, connected, s,
	        tls ? MHD_OPTION_HTTPS_MEM_KEY : MHD_OPTION_END, tls ? tls[0] : NULL,
	        MHD_OPTION_HTTPS_MEM_CERT, tls ? tls[1] : NULL, MHD_OPTION_END);
	if (!s->daemon)
		abort();
	info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
	snprintf(s->url, sizeof(s->url), "http%s://127.0.0.1:%u/v1", tls ? "s" : "", (unsigned)info->port);
	return s;
}

llm_server *llm_start(const llm_reply *script, size_t n)
{
	llm_server *s = calloc(1, sizeof(*s));

	s->script = script;
	s->n_script = n;
	return start(s, NULL);
}

llm_server *llm_start_answering(llm_reply (*answer)(const llm_seen *request, void *payload), void *payload)
{
	llm_server *s = calloc(1, sizeof(*s));

	s->answer = answer;
	s->payload = payload;
	return start(s, NULL);
}

static char *pem_of(BIO *b)
{
	char *data, *copied;
	long n = BIO_get_mem_data(b, &data);

	copied = calloc((size_t)n + 1, 1);
	memcpy(copied, data, (size_t)n);
	BIO_free(b);
	return copied;
}

void llm_certificate(char *tls[2])
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	BIO *b[2] = { BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()) };
	X509_EXTENSION *name = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
	                           (const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_add_ext(x, name, -1);
	if (!X509_sign(x, key, EVP_sha256()) || !PEM_write_bio_X509(b[1], x) ||
	    !PEM_write_bio_PrivateKey(b[0], key, NULL, NULL, 0, NULL, NULL))
		abort();
	for (int i = 0; i < 2; i++)
		tls[i] = pem_of(b[i]);
	X509_EXTENSION_free(name);
	X509_free(x);
	EVP_PKEY_free(key);
}

llm_server *llm_start_tls(char **pem, const llm_reply *script, size_t n)
{
	llm_server *s = calloc(1, sizeof(*s));
	char *tls[2];

	s->script = script;
	s->n_script = n;
	llm_certificate(tls);
	start(s, tls);
	s->key = tls[0];
	*pem = tls[1];
	return s;
}

void llm_stop(llm_server *s)
{
	MHD_stop_daemon(s->daemon);
	for (size_t i = 0; i < s->n_seen && i < SEEN_MAX; i++)
		forget(&s->seen[i]);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->answering);
	free(s->key);
	free(s);
}

const char *llm_url(const llm_server *s)
{
	return s->url;
}

size_t llm_count(llm_server *s)
{
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = s->n_seen;
	pthread_mutex_unlock(&s->lock);
	return n;
}

const llm_seen *llm_get(llm_server *s, size_t i)
{
	return &s->seen[i];
}

unsigned llm_most_at_once(llm_server *s)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->most;
	pthread_mutex_unlock(&s->lock);
	return n;
}

unsigned llm_connections(llm_server *s)
{
	return atomic_load(&s->connections);
}

double llm_when(llm_server *s, size_t i)
{
	return s->when[i];
}

const char *llm_question(const char *body)
{
	const char *at = body, *next = body;

	while ((next = strstr(next, "\"content\":")))
		at = next++;
	return at;
}

char *llm_content(const llm_seen *request, const char *role)
{
	cJSON *body = cJSON_Parse(request->body);
	const cJSON *m;
	char *content = NULL;

	cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(body, "messages"))
	{
		if (strcmp(cJSON_GetObjectItemCaseSensitive(m, "role")->valuestring, role) != 0)
			continue;
		free(content);
		content = strdup(cJSON_GetObjectItemCaseSensitive(m, "content")->valuestring);
	}
	cJSON_Delete(body);
	return content;
}

char *llm_chat(const char *content)
{
	text t;

	text_init(&t, 1 << 24);
	if (text_adds(&t, "{\"id\":\"c\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,"
	                  "\"message\":{\"role\":"
	                  "\"assistant\",\"content\":") < 0 ||
	    text_add_json(&t, content, strlen(content)) < 0 ||
	    text_adds(&t, "},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":11,\"completion_"
	                  "tokens\":7}}") < 0)
		abort();
	return t.data;
}

explain_client_opts llm_client(const char *url)
{
	explain_client_opts o = explain_client_opts_default();

	o.base_url = url;
	o.model = "tiny";
	o.backoff = 0.001;
	o.backoff_max = 0.002;
	o.retries = 2;
	o.timeout = 5;
	return o;
}

/* ---- Bytes to the letter ---------------------------------------------------------------------------------------------- */

struct llm_raw_server {
	llm_raw what;
	pthread_t thread;
	int listener;
	atomic_uint count;
	atomic_bool over;
	char url[64];
};

/* The head, and as many bytes as it promises. */
static void read_request(int fd)
{
	char buf[65536];
	size_t len = 0, want = 0;
	char *end = NULL, *at;
	ssize_t n;

	while (len < sizeof(buf) - 1 && (!end || len < want)) {
		n = recv(fd, buf + len, sizeof(buf) - 1 - len, 0);
		if (n <= 0)
			return;
		len += (size_t)n;
		buf[len] = '\0';
		end = strstr(buf, "\r\n\r\n");
		at = end ? strcasestr(buf, "content-length:") : NULL;
		want = at ? (size_t)(end + 4 - buf) + strtoul(at + 15, NULL, 10) : 0;
	}
}

static void serve_raw(llm_raw_server *s, int fd)
{
	const char *data = s->what.bytes;

	if (!s->what.deaf)
		read_request(fd);
	while (data && !atomic_load(&s->over) && send(fd, data, strlen(data), MSG_NOSIGNAL) > 0) {
		data = s->what.again;
		if (data)
			wait_seconds(s->what.pause);
	}
	close(fd);
}

static void *raw_thread(void *payload)
{
	llm_raw_server *s = payload;
	int fd;

	while ((fd = accept(s->listener, NULL, NULL)) >= 0) {
		if (atomic_load(&s->over)) {
			close(fd);
			break;
		}
		atomic_fetch_add(&s->count, 1);
		serve_raw(s, fd);
	}
	return NULL;
}

llm_raw_server *llm_start_raw(const llm_raw *r)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	llm_raw_server *s = calloc(1, sizeof(*s));
	socklen_t n = sizeof(at);

	s->what = *r;
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s->listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(s->listener, 16) < 0 ||
	    getsockname(s->listener, (struct sockaddr *)&at, &n) < 0 ||
	    pthread_create(&s->thread, NULL, raw_thread, s) != 0)
		abort();
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u/v1", (unsigned)ntohs(at.sin_port));
	return s;
}

const char *llm_raw_url(const llm_raw_server *s)
{
	return s->url;
}

unsigned llm_raw_count(llm_raw_server *s)
{
	return atomic_load(&s->count);
}

void llm_stop_raw(llm_raw_server *s)
{
	atomic_store(&s->over, true);
	shutdown(s->listener, SHUT_RDWR); /* accept() returns */
	pthread_join(s->thread, NULL);
	close(s->listener);
	free(s);
}
