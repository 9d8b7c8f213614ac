/* progress.c: the one line that says how far a long job is. */
#include "base/base.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TTY_INTERVAL  (1.0 / 6)
#define FILE_INTERVAL 60.0
#define NO_UPDATE     UINT64_MAX /* in `first` */

static int terminal_width(FILE *to)
{
	struct winsize size;

	return ioctl(fileno(to), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void progress_start(progress *p, FILE *to, const char *what, const char *unit, uint64_t total)
{
	double now = clock_now();

	*p = (progress){
		.to = to, .what = what, .unit = unit, .total = total, .started = now, .first = NO_UPDATE
	};
	if (!to)
		return;
	p->is_tty = isatty(fileno(to)) == 1;
	p->width = p->is_tty ? terminal_width(to) : 0;
	p->drawn = p->is_tty ? now - 1 : now; /* a file gets its first line after a minute */
}

/* A count that people read: 950, 12.3k, 4.56M. */
static void format_count(char out[32], double x)
{
	static const char units[] = " kMGT";
	int i = 0;

	while (x >= 999.5 && i < 4) {
		x /= 1000;
		i++;
	}
	if (i == 0)
		snprintf(out, 32, x < 10 ? "%.2g" : "%.0f", x);
	else
		snprintf(out, 32, "%.*f%c", x < 9.995 ? 2 : x < 99.95 ? 1 : 0, x, units[i]);
}

static void format_seconds(char out[32], double seconds)
{
	uint64_t s = seconds < 1e9 ? (uint64_t)(seconds + 0.5) : 1000000000;

	if (s < 60)
		snprintf(out, 32, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(out, 32, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, 32, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(out, 32, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
}

/* "train 1.2M/10M tokens 12%  85k/s  1m43s left  note" */
static int compose(text *t, const progress *p, uint64_t done, double now, const char *note)
{
	double rate =
	        now > p->started && done > p->first ? (double)(done - p->first) / (now - p->started) : 0;
	char count[32], all[32], speed[32], left[32];
	int rc;

	format_count(count, (double)done);
	format_count(all, (double)p->total);
	format_count(speed, rate);
	rc = text_addf(t, "%s %s", p->what, count);
	if (rc == 0 && p->total)
		rc = text_addf(t, "/%s", all);
	if (rc == 0)
		rc = text_addf(t, " %s", p->unit);
	if (rc == 0 && p->total)
		rc = text_addf(t, " %.0f%%", 100.0 * (double)done / (double)p->total);
	if (rc == 0 && rate > 0)
		rc = text_addf(t, "  %s/s", speed);
	if (rc == 0 && rate > 0 && p->total >= done) {
		format_seconds(left, (double)(p->total - done) / rate);
		rc = text_addf(t, "  %s left", left);
	}
	if (rc == 0 && note)
		rc = text_adds(t, "  ");
	if (rc == 0 && note)
		rc = text_add_visible(t, note, strlen(note));
	return rc;
}

/* Bytes of the line that fit in `width` columns. */
static size_t fitting(const char *line, size_t n, size_t width)
{
	size_t at = 0, columns = 0;

	while (at < n) {
		uint32_t cp;
		size_t len = utf8_next(line + at, n - at, &cp);

		len = len ? len : 1;
		columns += text_columns(line + at, len);
		if (columns > width)
			break;
		at += len;
	}
	return at;
}

void progress_update(progress *p, uint64_t done, const char *note)
{
	double now;
	text line;

	if (!p->to)
		return;
	now = clock_now();
	if (p->first == NO_UPDATE) { /* a resumed job's rate counts from where it resumed */
		p->first = done;
		p->started = now;
	}
	if (now - p->drawn < (p->is_tty ? TTY_INTERVAL : FILE_INTERVAL))
		return;
	p->drawn = now;
	text_init(&line, 1024);
	if (compose(&line, p, done, now, note) == 0 && p->is_tty) {
		p->width = terminal_width(p->to); /* it may have been resized */
		fprintf(p->to, "\r%.*s\033[K", (int)fitting(line.data, line.len, (size_t)p->width - 1),
		        line.data);
	} else if (line.len) {
		fprintf(p->to, "%s\n", line.data);
	}
	fflush(p->to);
	text_free(&line);
}

void progress_end(progress *p)
{
	if (!p->to || !p->is_tty)
		return;
	fputs("\r\033[K", p->to);
	fflush(p->to);
}
