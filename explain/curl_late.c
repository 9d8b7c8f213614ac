/* curl: the functions of libcurl that explain/ calls; the library is loaded at the first call. */
#include "base/base.h"

#include <curl/curl.h>
#include <stdarg.h>

#define LIB "libcurl.so.4"
#if LIBCURL_VERSION_NUM >= 0x080000
typedef const CURLU url_read;
#else
typedef CURLU url_read;
#endif

LATE(LIB, CURLcode, curl_global_init, (long flags), (flags))
LATE_VOID(LIB, curl_global_cleanup, (void), ())
LATE_VOID(LIB, curl_free, (void *p), (p))

LATE(LIB, CURL *, curl_easy_init, (void), ())
LATE_VOID(LIB, curl_easy_cleanup, (CURL * e), (e))
LATE(LIB, const char *, curl_easy_strerror, (CURLcode c), (c))
LATE(LIB, CURLHcode, curl_easy_header,
     (CURL * e, const char *name, size_t index, unsigned origin, int request, struct curl_header **out),
     (e, name, index, origin, request, out))

LATE(LIB, CURLcode, curl_easy_perform, (CURL * e), (e))

LATE(LIB, curl_mime *, curl_mime_init, (CURL * e), (e))
LATE_VOID(LIB, curl_mime_free, (curl_mime * m), (m))
LATE(LIB, curl_mimepart *, curl_mime_addpart, (curl_mime * m), (m))
LATE(LIB, CURLcode, curl_mime_data, (curl_mimepart * p, const char *s, size_t n), (p, s, n))
LATE(LIB, CURLcode, curl_mime_name, (curl_mimepart * p, const char *s), (p, s))
LATE(LIB, CURLcode, curl_mime_filename, (curl_mimepart * p, const char *s), (p, s))
LATE(LIB, CURLcode, curl_mime_type, (curl_mimepart * p, const char *s), (p, s))

LATE(LIB, CURLM *, curl_multi_init, (void), ())
LATE(LIB, CURLMcode, curl_multi_cleanup, (CURLM * m), (m))
LATE(LIB, CURLMcode, curl_multi_add_handle, (CURLM * m, CURL *e), (m, e))
LATE(LIB, CURLMcode, curl_multi_remove_handle, (CURLM * m, CURL *e), (m, e))
LATE(LIB, CURLMcode, curl_multi_perform, (CURLM * m, int *running), (m, running))
LATE(LIB, CURLMcode, curl_multi_poll, (CURLM * m, struct curl_waitfd *fds, unsigned n, int ms, int *ready),
     (m, fds, n, ms, ready))
LATE(LIB, CURLMsg *, curl_multi_info_read, (CURLM * m, int *left), (m, left))
LATE(LIB, const char *, curl_multi_strerror, (CURLMcode c), (c))

LATE(LIB, struct curl_slist *, curl_slist_append, (struct curl_slist * list, const char *s), (list, s))
LATE_VOID(LIB, curl_slist_free_all, (struct curl_slist * list), (list))

LATE(LIB, CURLU *, curl_url, (void), ())
LATE_VOID(LIB, curl_url_cleanup, (CURLU * u), (u))
LATE(LIB, CURLUcode, curl_url_get, (url_read * u, CURLUPart part, char **out, unsigned flags),
     (u, part, out, flags))
LATE(LIB, CURLUcode, curl_url_set, (CURLU * u, CURLUPart part, const char *s, unsigned flags),
     (u, part, s, flags))

/* An option's number says of what type its value is. */
CURLcode(curl_easy_setopt)(CURL *e, CURLoption option, ...)
{
	LATE_CALL(LIB, CURLcode, curl_easy_setopt, (CURL *, CURLoption, ...))
	CURLcode rc;
	va_list ap;

	va_start(ap, option);
	if (option < CURLOPTTYPE_OBJECTPOINT)
		rc = call(e, option, va_arg(ap, long));
	else if (option < CURLOPTTYPE_FUNCTIONPOINT || option >= CURLOPTTYPE_BLOB)
		rc = call(e, option, va_arg(ap, void *));
	else if (option < CURLOPTTYPE_OFF_T)
		rc = call(e, option, va_arg(ap, late_function));
	else
		rc = call(e, option, va_arg(ap, curl_off_t));
	va_end(ap);
	return rc;
}

CURLcode(curl_easy_getinfo)(CURL *e, CURLINFO info, ...)
{
	LATE_CALL(LIB, CURLcode, curl_easy_getinfo, (CURL *, CURLINFO, ...))
	CURLcode rc;
	va_list ap;

	va_start(ap, info);
	rc = call(e, info, va_arg(ap, void *));
	va_end(ap);
	return rc;
}

CURLMcode(curl_multi_setopt)(CURLM *m, CURLMoption option, ...)
{
	LATE_CALL(LIB, CURLMcode, curl_multi_setopt, (CURLM *, CURLMoption, ...))
	CURLMcode rc;
	va_list ap;

	va_start(ap, option);
	if ((int)option < CURLOPTTYPE_OBJECTPOINT)
		rc = call(m, option, va_arg(ap, long));
	else if ((int)option < CURLOPTTYPE_FUNCTIONPOINT)
		rc = call(m, option, va_arg(ap, void *));
	else if ((int)option < CURLOPTTYPE_OFF_T)
		rc = call(m, option, va_arg(ap, late_function));
	else
		rc = call(m, option, va_arg(ap, curl_off_t));
	va_end(ap);
	return rc;
}
