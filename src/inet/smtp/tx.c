/* tx.c - the message that a session is taking in. */
#include "inet/smtp/session.h"

#include <stdlib.h>

#define RCPTS_FIRST 8

bool smtp_tx_begin(struct smtp_session *s)
{
	size_t rcpts = (size_t)config_int(smtp_host(s)->config, "recipients_max");
	struct smtp_tx *tx = calloc(1, sizeof(*tx));

	if (!tx)
		return false;
	tx->pool = pool_new("smtp envelope", (rcpts + 64) * (DS_ADDRESS_MAX + 32));
	if (!tx->pool) {
		free(tx);
		return false;
	}
	tx->refusal = SMTP_R_OK;
	s->tx = tx;
	s->state = SMTP_SENDER;
	return true;
}

void smtp_tx_reset(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;

	s->tx = NULL;
	s->state = s->helo[0] ? SMTP_READY : SMTP_START;
	if (!tx)
		return;
	mailmsg_free(tx->msg);
	pool_free(tx->pool);
	free(tx->env.rcpts);
	free(tx);
}

struct mailmsg_rcpt *smtp_tx_rcpt(struct smtp_tx *tx)
{
	struct mailmsg_envelope *env = &tx->env;
	struct mailmsg_rcpt *r;

	if (env->nrcpts == tx->rcpts_room) {
		size_t room = tx->rcpts_room ? 2 * tx->rcpts_room : RCPTS_FIRST;
		void *more = realloc(env->rcpts, room * sizeof(*env->rcpts));

		if (!more)
			return NULL;
		env->rcpts = more;
		tx->rcpts_room = room;
	}
	r = &env->rcpts[env->nrcpts++];
	*r = (struct mailmsg_rcpt){ 0 };
	return r;
}
