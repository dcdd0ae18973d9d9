#include "props/tags.h"

#define PROP(symbol, type, id, name, source, meaning)                                              \
	{ PROP_TAG(type, id), #symbol, name, source, meaning },
static const struct prop_info mapi_rows[] = {
#include "props/tags.def"
};
static const struct prop_info mailmsg_rows[] = {
#include "props/msgids.def"
};
#undef PROP

const struct prop_info *prop_table(enum prop_space space, size_t *count)
{
	if (space == PROP_MAILMSG) {
		*count = sizeof mailmsg_rows / sizeof mailmsg_rows[0];
		return mailmsg_rows;
	}
	*count = sizeof mapi_rows / sizeof mapi_rows[0];
	return mapi_rows;
}

const struct prop_info *prop_find(enum prop_space space, uint32_t tag)
{
	size_t count;
	const struct prop_info *rows = prop_table(space, &count);

	/* Only dumps and tests come here: no index is worth its order. */
	for (size_t i = 0; i < count; i++)
		if (rows[i].tag == tag)
			return &rows[i];
	return NULL;
}

const char *prop_type_name(uint32_t type)
{
	static const struct {
		uint32_t type;
		const char *name;
	} names[] = {
		{ PT_LONG, "long" },           { PT_BOOLEAN, "boolean" },
		{ PT_OBJECT, "object" },       { PT_I8, "i8" },
		{ PT_UNICODE, "unicode" },     { PT_SYSTIME, "systime" },
		{ PT_BINARY, "binary" },       { PT_MV_LONG, "mv long" },
		{ PT_MV_I8, "mv i8" },         { PT_MV_UNICODE, "mv unicode" },
		{ PT_MV_BINARY, "mv binary" }, { PT_MV_OBJECT, "mv object" },
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i].type == type)
			return names[i].name;
	return "?";
}
