/* http: what goes over the wire and what an answer means. The key is in one header list and nowhere else. */
#include "explain/http.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum {
	URL_MAX = 240,
	KEY_MAX = 4096,
	SHORT_KEY = 8,
	ERROR_BODY_MAX = 65536,
	ERROR_LETTERS = 200,
	ERROR_BYTES = 280,
	HEADERS_MAX = 262144
};

static const char *const http_paths[] = { [EXPLAIN_CHAT] = "/chat/completions",
	                                  [EXPLAIN_COMPLETIONS] = "/completions",
	                                  [EXPLAIN_EMBEDDINGS] = "/embeddings",
	                                  [EXPLAIN_SUBJECT] = "/subject" };

/* ---- Endpoint ---------------------------------------------------------------------------------------------------- */

static int url_part(CURLU *u, CURLUPart part, char **out)
{
	*out = NULL;
	return curl_url_get(u, part, out, 0) == CURLUE_OK;
}

static bool is_loopback(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
	       strcmp(host, "[::1]") == 0;
}

/* A base URL is scheme, host, port and path: what else it may hold is a mistake or a secret. */
static int check_url(http_endpoint *e, const char *base, bool has_key, error *err)
{
	static const CURLUPart unwanted[] = { CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY,
		                              CURLUPART_FRAGMENT };
	char *scheme = NULL, *host = NULL, *other;
	CURLU *u = NULL;
	int rc = 0;

	if (strlen(base) > URL_MAX)
		return error_set(err, ERR_ARG, "the base URL is over %d letters", URL_MAX);
	for (const char *p = base; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return error_set(err, ERR_ARG, "the base URL holds a space or control character");
	u = curl_url();
	if (!u)
		return error_nomem(err, "a URL");
	if (curl_url_set(u, CURLUPART_URL, base, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
	    !url_part(u, CURLUPART_SCHEME, &scheme) || !url_part(u, CURLUPART_HOST, &host)) {
		rc = error_set(err, ERR_ARG, "the base URL is not a URL like 'http://127.0.0.1:8080/v1'");
		goto out;
	}
	if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) {
		rc = error_set(err, ERR_ARG, "the base URL's scheme is '%.20s', http or https is wanted",
		               scheme);
		goto out;
	}
	for (size_t i = 0; i < ARRAY_LEN(unwanted); i++)
		if (url_part(u, unwanted[i], &other)) {
			curl_free(other);
			rc = error_set(err, ERR_ARG,
			               "the base URL may hold scheme, host, port and path, no user, password "
			               "or query");
			goto out;
		}
	e->tls = strcmp(scheme, "https") == 0;
	/* A proxy would read the key of plain HTTP; over TLS it only passes it on. */
	e->direct = is_loopback(host) || (has_key && !e->tls);
out:
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	return rc;
}

static int check_key(const char *key, error *err)
{
	size_t n = strlen(key);

	if (n == 0 || n > KEY_MAX)
		return error_set(err, ERR_ARG, "the API key is empty or over %d letters", KEY_MAX);
	for (size_t i = 0; i < n; i++)
		if (key[i] <= ' ' || key[i] >= 0x7f)
			return error_set(
			        err, ERR_ARG,
			        "the API key holds a space, a newline, a control or a non-ASCII character");
	return 0;
}

static char *join(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	char *s = malloc(na + nb + 1);

	if (!s)
		return NULL;
	memcpy(s, a, na);
	memcpy(s + na, b, nb + 1);
	return s;
}

/* The key as a JSON string spells it; some servers escape '/' too. */
static char *json_spelling(const char *key, bool slash)
{
	char *s = malloc(2 * strlen(key) + 1), *d = s;

	if (!s)
		return NULL;
	for (; *key; key++) {
		if (*key == '"' || *key == '\\' || (slash && *key == '/'))
			*d++ = '\\';
		*d++ = *key;
	}
	*d = '\0';
	return s;
}

static void scrub(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
}

static int add_header(http_endpoint *e, const char *line, error *err)
{
	struct curl_slist *more = curl_slist_append(e->headers, line);

	if (!more)
		return error_nomem(err, "the request headers");
	e->headers = more;
	return 0;
}

static int make_headers(http_endpoint *e, error *err)
{
	char *line;
	int rc;

	rc = add_header(e, "Content-Type: application/json", err);
	if (rc == 0)
		rc = add_header(e, "Accept: application/json", err);
	if (rc == 0)
		rc = add_header(e, "Expect:", err); /* no round trip before a long body */
	if (rc < 0 || !e->key[0])
		return rc;
	line = join("Authorization: Bearer ", e->key[0]);
	if (!line)
		return error_nomem(err, "the request headers");
	rc = add_header(e, line, err);
	scrub(line);
	free(line);
	return rc;
}

int http_endpoint_init(http_endpoint *e, const explain_client_opts *o, error *err)
{
	bool whole = true;
	size_t n;
	int rc;

	*e = (http_endpoint){ .timeout = o->timeout / o->clock_speed, .max_reply = o->max_reply };
	rc = check_url(e, o->base_url, o->api_key != NULL, err);
	if (rc == 0 && o->api_key)
		rc = check_key(o->api_key, err);
	if (rc < 0)
		return rc;
	e->base = strdup(o->base_url);
	if (!e->base)
		return error_nomem(err, "the base URL");
	for (n = strlen(e->base); n && e->base[n - 1] == '/'; n--)
		e->base[n - 1] = '\0';
	for (size_t i = 0; i < EXPLAIN_APIS; i++) {
		e->url[i] = join(e->base, http_paths[i]);
		whole = whole && e->url[i];
	}
	if (o->ca_file) {
		e->ca_file = strdup(o->ca_file);
		whole = whole && e->ca_file;
	}
	if (o->api_key) {
		e->key[0] = strdup(o->api_key);
		e->key[1] = json_spelling(o->api_key, false);
		e->key[2] = json_spelling(o->api_key, true);
		whole = whole && e->key[0] && e->key[1] && e->key[2];
	}
	if (!whole)
		rc = error_nomem(err, "the endpoint");
	else
		rc = make_headers(e, err);
	if (rc < 0)
		http_endpoint_clear(e);
	return rc;
}

void http_endpoint_clear(http_endpoint *e)
{
	for (struct curl_slist *h = e->headers; h; h = h->next)
		scrub(h->data);
	curl_slist_free_all(e->headers);
	free(e->base);
	for (size_t i = 0; i < EXPLAIN_APIS; i++)
		free(e->url[i]);
	free(e->ca_file);
	for (size_t i = 0; i < ARRAY_LEN(e->key); i++) {
		scrub(e->key[i]);
		free(e->key[i]);
	}
	*e = (http_endpoint){ 0 };
}

static void blot(char *s, size_t n, const char *word)
{
	size_t k = strlen(word);

	for (char *end = s + n; (s = memmem(s, (size_t)(end - s), word, k)); s += k)
		memset(s, '*', k);
}

void http_redact(const http_endpoint *e, char *s, size_t n, bool all)
{
	if (!e->key[0] || n == 0 || (!all && strlen(e->key[0]) < SHORT_KEY))
		return;
	for (size_t i = 0; i < ARRAY_LEN(e->key); i++)
		blot(s, n, e->key[i]);
}

/* ---- One transfer -------------------------------------------------------------------------------------------------- */

static size_t take_body(char *p, size_t size, size_t n, void *payload)
{
	http_slot *s = payload;
	size_t len = size * n, keep = len;
	long status = 0;
	int rc;

	curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200) { /* an error's page: its beginning is enough */
		size_t room = s->body.len < ERROR_BODY_MAX ? ERROR_BODY_MAX - s->body.len : 0;
		keep = len < room ? len : room;
	}
	rc = text_add(&s->body, p, keep);
	s->too_big = rc == ERR_LIMIT;
	s->no_memory = rc == ERR_NOMEM;
	return rc < 0 ? 0 : len;
}

/* Headers without end would fill the memory, since libcurl keeps them. */
static size_t take_header(char *p, size_t size, size_t n, void *payload)
{
	http_slot *s = payload;

	(void)p;
	s->header_bytes += size * n;
	s->too_big = s->header_bytes > HEADERS_MAX;
	return s->too_big ? 0 : size * n;
}

int http_slot_init(http_slot *s, const http_endpoint *e, error *err)
{
	CURL *c;

	*s = (http_slot){ .endpoint = e };
	text_init(&s->body, e->max_reply);
	s->easy = c = curl_easy_init();
	if (!c || curl_easy_setopt(c, CURLOPT_USERAGENT, "gloss/" GLOSS_VERSION) != CURLE_OK ||
	    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
	    (e->ca_file && curl_easy_setopt(c, CURLOPT_CAINFO, e->ca_file) != CURLE_OK))
		return error_nomem(err, "a connection");
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, e->headers);
	curl_easy_setopt(c, CURLOPT_POST, 1L);
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	/* Over TLS a request waits for the connection that is being made to say whether it carries several at once. */
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION,
	                 e->tls ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_PIPEWAIT, e->tls ? 1L : 0L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(e->timeout * 1000));
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)((e->timeout < 20 ? e->timeout : 20) * 1000));
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, s);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, s->why);
	curl_easy_setopt(c, CURLOPT_PRIVATE, s);
	if (e->direct)
		curl_easy_setopt(c, CURLOPT_PROXY, ""); /* whatever http_proxy says */
	return 0;
}

void http_slot_free(http_slot *s)
{
	if (s->easy)
		curl_easy_cleanup(s->easy);
	text_free(&s->body);
	*s = (http_slot){ 0 };
}

int http_slot_start(http_slot *s, CURLM *multi, explain_api api, const char *body, error *err)
{
	text_clear(&s->body);
	s->too_big = s->no_memory = false;
	s->header_bytes = 0;
	s->why[0] = '\0';
	curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
	curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, body);
	if (curl_easy_setopt(s->easy, CURLOPT_URL, s->endpoint->url[api]) != CURLE_OK ||
	    curl_multi_add_handle(multi, s->easy) != CURLM_OK)
		return error_nomem(err, "a request");
	return 0;
}

/* ---- What came of it ------------------------------------------------------------------------------------------------ */

static const char *message_in(const cJSON *body)
{
	static const char *const keys[] = { "error", "message", "detail" };
	const cJSON *found;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		found = cJSON_GetObjectItemCaseSensitive(body, keys[i]);
		if (cJSON_IsObject(found))
			found = cJSON_GetObjectItemCaseSensitive(found, "message");
		if (cJSON_IsString(found) && found->valuestring[0])
			return found->valuestring;
	}
	return NULL;
}

/* The first letters of visible UTF-8. */
static size_t cut_at(const char *s, size_t n)
{
	size_t at = 0, letters = 0, step;
	uint32_t cp;

	while (at < n && letters < ERROR_LETTERS) {
		step = utf8_next(s + at, n - at, &cp);
		if (step == 0 || at + step > ERROR_BYTES)
			break;
		at += step;
		letters++;
	}
	return at;
}

/* ": message" of `n` bytes that are not ours: the key blotted out, made visible, cut. */
static int add_foreign(const http_endpoint *e, text *out, const char *message, size_t n)
{
	text raw, visible;
	size_t cut;
	int rc;

	text_init(&raw, ERROR_BODY_MAX * 4);
	text_init(&visible, ERROR_BODY_MAX * 16);
	rc = text_add(&raw, message, n);
	if (rc == 0) {
		http_redact(e, raw.data, raw.len, true);
		rc = text_add_visible(&visible, raw.data, raw.len);
	}
	if (rc == 0) {
		cut = cut_at(visible.data, visible.len);
		rc = text_addf(out, ": %.*s%s", (int)cut, visible.data, cut < visible.len ? "..." : "");
	}
	text_free(&raw);
	text_free(&visible);
	return rc;
}

void http_error_text(const http_endpoint *e, text *out, const char *body, size_t n)
{
	const char *message = body, *found;
	cJSON *json = NULL;

	if (n && json_parse(&json, body, n, ERROR_BODY_MAX, 64, "error", NULL) == 0 &&
	    (found = message_in(json))) {
		message = found;
		n = strlen(found);
	}
	while (n && isspace((unsigned char)*message)) {
		message++;
		n--;
	}
	while (n && isspace((unsigned char)message[n - 1]))
		n--;
	if (n && add_foreign(e, out, message, n) < 0)
		text_clear(out); /* the status alone, then */
	cJSON_Delete(json);
}

/* Errors of libcurl that a later attempt may not meet. */
static bool is_passing(CURLcode result)
{
	switch (result) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_WRITE_ERROR:
		return true;
	default:
		return false;
	}
}

static void broken(http_outcome *out, const http_slot *s, CURLcode result)
{
	if (s->no_memory) {
		error_nomem(&out->err, "a reply");
		out->class = HTTP_FATAL;
	} else if (s->too_big) {
		error_set(&out->err, ERR_LIMIT, "'%s' sent %s of over %zu bytes", s->endpoint->base,
		          s->header_bytes > HEADERS_MAX ? "headers" : "a reply",
		          s->header_bytes > HEADERS_MAX ? (size_t)HEADERS_MAX : s->endpoint->max_reply);
		out->class = HTTP_FAIL;
	} else if (result == CURLE_PEER_FAILED_VERIFICATION) {
		error_set(&out->err, ERR_NET, "the TLS certificate of '%s' is not trusted: %s",
		          s->endpoint->base, s->why[0] ? s->why : curl_easy_strerror(result));
		out->class = HTTP_FATAL;
	} else if (result == CURLE_SSL_CACERT_BADFILE) {
		error_set(&out->err, ERR_ARG, "no certificates can be read from '%s'",
		          s->endpoint->ca_file ? s->endpoint->ca_file : "the system's file");
		out->class = HTTP_FATAL;
	} else {
		out->unreachable = result == CURLE_COULDNT_RESOLVE_HOST ||
		                   result == CURLE_COULDNT_RESOLVE_PROXY || result == CURLE_COULDNT_CONNECT ||
		                   result == CURLE_SSL_CONNECT_ERROR;
		out->class = is_passing(result) ? HTTP_RETRY : HTTP_FATAL;
		error_set(&out->err, ERR_NET, "%s '%s': %s",
		          out->unreachable ? "cannot reach" : "no whole reply from", s->endpoint->base,
		          out->class == HTTP_FATAL && s->why[0] ? s->why : curl_easy_strerror(result));
	}
}

static void redirected(http_outcome *out, const http_slot *s, long status)
{
	const char *to = NULL;
	text place;

	text_init(&place, 4096);
	curl_easy_getinfo(s->easy, CURLINFO_REDIRECT_URL, &to);
	if (to)
		http_error_text(s->endpoint, &place, to, strlen(to));
	error_set(&out->err, ERR_NET, "'%s' answered %ld, a redirect, which is not followed%s",
	          s->endpoint->base, status, place.data ? place.data : "");
	out->class = HTTP_FATAL;
	text_free(&place);
}

/* Whether an error body says that the question was held back for what it is about. */
static bool is_filtered(const char *body, size_t n)
{
	static const char *const codes[] = { "content_filter", "content_policy_violation",
		                             "data_inspection_failed" };

	for (size_t i = 0; n && i < ARRAY_LEN(codes); i++)
		if (memmem(body, n, codes[i], strlen(codes[i])))
			return true;
	return false;
}

static void refused(http_outcome *out, const http_slot *s, long status)
{
	bool quota =
	        status == 429 && s->body.len && memmem(s->body.data, s->body.len, "insufficient_quota", 18);
	int code = ERR_ARG;
	text why;

	text_init(&why, 4096);
	http_error_text(s->endpoint, &why, s->body.data, s->body.len);
	if (status == 403 && s->body.len && memmem(s->body.data, s->body.len, "logprobs", 8)) {
		out->class = HTTP_FAIL; /* not the key is at fault: this model gives none */
	} else if (status == 401 || status == 402 || status == 403 || quota) {
		out->class = HTTP_FATAL;
		code = ERR_REFUSED;
	} else if (status == 408 || status == 425 || status == 429 || status >= 500) {
		out->class = status == 429 ? HTTP_LIMIT : HTTP_RETRY;
		code = ERR_NET;
	} else {
		out->class = HTTP_FAIL;
		out->filtered = is_filtered(s->body.data, s->body.len);
	}
	error_set(&out->err, code, "'%s' answered %ld%s", s->endpoint->base, status,
	          why.data ? why.data : "");
	text_free(&why);
}

void http_slot_outcome(http_outcome *out, http_slot *s, CURLcode result)
{
	long status = 0;

	curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	*out = (http_outcome){ .class = HTTP_REPLY, .status = status };
	pace_head_read(&out->head, s->easy);
	if (fault_hit(FAULT_HTTP)) {
		status = 0;
		result = CURLE_RECV_ERROR;
	}
	/* An error status counts even when its page was cut short. */
	if (status >= 300 && status < 400)
		redirected(out, s, status);
	else if (status >= 400)
		refused(out, s, status);
	else if (result != CURLE_OK)
		broken(out, s, result);
	else if (status != 200)
		refused(out, s, status);
	else
		http_redact(s->endpoint, s->body.data, s->body.len, false);
}
