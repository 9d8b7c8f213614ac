/* batch: the same requests by a provider's Batch API (/files, /batches): cheaper, and answered within a day. Private to explain/. */
#ifndef GLOSS_EXPLAIN_BATCH_H
#define GLOSS_EXPLAIN_BATCH_H

#include "explain/claims.h"

typedef struct batch batch;
/* client: for what a batch did not answer twice. log, client and claims stay the caller's. */
int batch_new(batch **out, const explain_client_opts *o, explain_client *client, store_log *log,
              const claims *c, double poll, error *err) MUST_USE;
void batch_free(batch *b);
int batch_add(batch *b, explain_request *r, error *err) MUST_USE;
/* Hand over what was added, look once how far the provider is, take in what is ready, call back. Waits up to the seconds of
 * `poll` where nothing changed. ERR_STOPPED: the provider goes on, and whoever resumes the job takes it in. */
int batch_step(batch *b, bool (*stop)(void), error *err) MUST_USE;

/* What the provider is told and tells (batch_http.c). */
typedef struct batch_http batch_http;
int batch_http_new(batch_http **out, const explain_client_opts *o, error *err) MUST_USE;
void batch_http_free(batch_http *h);
const char *batch_http_base(const batch_http *h);
/* GET base + path: its whole body, malloc'd. ERR_NOTFOUND: 404. */
int batch_http_get(char **body, size_t *len, batch_http *h, const char *path, bool (*stop)(void),
                   error *err) MUST_USE;
/* *unsure: it failed, and yet the provider may have done it; so it is not tried again here. */
int batch_http_post(cJSON **reply, bool *unsure, batch_http *h, const char *path, const char *json,
                    bool (*stop)(void), error *err) MUST_USE;
/* POST /files; *id malloc'd. */
int batch_http_upload(char **id, batch_http *h, const text *jsonl, bool (*stop)(void), error *err) MUST_USE;
/* Sleep, but for stop(): ERR_STOPPED. */
int batch_wait(double seconds, bool (*stop)(void), error *err) MUST_USE;

#endif
