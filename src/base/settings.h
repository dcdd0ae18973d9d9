/* settings.h - the table of all settings.  Private to config.c; constant. */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

enum setting_type {
	SET_GROUP, /* not a setting: a headline; `meaning` is its text */
	SET_INT,
	SET_BOOL,
	SET_STR,
	SET_PATH,   /* relative to the home */
	SET_CHOICE, /* one of the words in `choices` */
};

struct setting {
	const char *key;
	enum setting_type type;
	const char *text;    /* default of SET_STR, SET_PATH, SET_CHOICE */
	int64_t number;      /* default of SET_INT, SET_BOOL */
	int64_t min, max;    /* SET_INT */
	const char *unit;    /* SET_INT: "bytes", "seconds" ...; "" for a plain count */
	const char *choices; /* SET_CHOICE: words with one blank between them */
	const char *meaning; /* sentences, without line breaks */
};

extern const struct setting settings[];
extern const size_t settings_count;

#endif
