/* Included before every file of ours by the build: calls that have a safer replacement here do not compile. */
#ifndef GLOSS_BANNED_H
#define GLOSS_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GLOSS_BANNED(call) gloss_banned_##call##_see_base_banned_h

#undef strcpy
#define strcpy(d, s) GLOSS_BANNED(strcpy)
#undef strcat
#define strcat(d, s) GLOSS_BANNED(strcat)
#undef sprintf
#define sprintf(...) GLOSS_BANNED(sprintf)
#undef vsprintf
#define vsprintf(...) GLOSS_BANNED(vsprintf)
#undef strtok
#define strtok(s, d) GLOSS_BANNED(strtok)
#undef atoi
#define atoi(s) GLOSS_BANNED(atoi)
#undef atol
#define atol(s) GLOSS_BANNED(atol)
#undef atof
#define atof(s) GLOSS_BANNED(atof)
#undef gmtime
#define gmtime(t) GLOSS_BANNED(gmtime)
#undef localtime
#define localtime(t) GLOSS_BANNED(localtime)

#endif
