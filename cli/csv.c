/* See csv.h. */
#include "cli/csv.h"

#include <string.h>

int csv_field(const char *string, bool visible)
{
	text safe;
	int rc = 0;

	text_init(&safe, (size_t)1 << 30);
	if (visible) {
		rc = text_add_visible(&safe, string, strlen(string));
		string = safe.data ? safe.data : "";
	}
	if (!rc && *string && !string[strcspn(string, ",\"\r\n")]) {
		fputs(string, stdout);
	} else if (!rc) {
		putchar('"');
		for (; *string; string++) {
			if (*string == '"')
				putchar('"');
			putchar(*string);
		}
		putchar('"');
	}
	text_free(&safe);
	return rc;
}
