/* SPDX-License-Identifier: BSD-2-Clause */
/* Moves identities between peer classes. */
#include "apply_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "cleanup.h"

/* Identities to add and to delete, one table operation each. */
struct identity_batch {
	uint64_t *put, *gone;
	struct wr_peer *peers;
	size_t put_count, gone_count;
};

static void identity_batch_free(struct identity_batch *batch)
{
	free(batch->put);
	free(batch->gone);
	free(batch->peers);
}

static int identity_batch_new(struct identity_batch *batch, size_t count, struct err *err)
{
	batch->put = calloc(count + 1, sizeof(*batch->put));
	batch->gone = calloc(count + 1, sizeof(*batch->gone));
	batch->peers = calloc(count + 1, sizeof(*batch->peers));
	return batch->put && batch->gone && batch->peers ? 0 : err_set(err, ENOMEM, "no memory for identities");
}

static void identity_batch_add(struct identity_batch *batch, uint64_t identity, uint64_t peer)
{
	if (peer == WR_PEER_NONE) {
		batch->gone[batch->gone_count++] = identity;
	} else {
		batch->put[batch->put_count] = identity;
		batch->peers[batch->put_count++].peer = peer;
	}
}

/* Identities that do not fit are not programmed: they then match fewer rules. */
static int put_identities(struct apply *a, const struct identity_batch *batch, struct err *err)
{
	int ret = batch->put_count
		      ? a->ops->put(a->arg, APPLY_IDENTITIES, batch->put, batch->peers, batch->put_count, err)
		      : 0;
	bool all = ret == 0;

	if (ret < 0 && !no_room(ret))
		return ret;
	for (size_t i = 0; i < batch->put_count; i++) {
		const uint64_t *identity = &batch->put[i];
		const struct wr_peer *peer = &batch->peers[i];

		ret = all ? 0 : a->ops->put(a->arg, APPLY_IDENTITIES, identity, peer, 1, err);
		if (ret < 0 && !no_room(ret))
			return ret;
		a->lacks_room |= ret < 0;
		if (ret == 0)
			u64map_remove(&a->not_programmed, *identity);
		if (u64map_set(ret < 0 ? &a->not_programmed : &a->identities, *identity, peer->peer) < 0)
			return err_set(err, ENOMEM, "no memory for identities");
	}
	return 0;
}

static int write_identities(struct apply *a, const struct identity_batch *batch, struct err *err)
{
	int ret = put_identities(a, batch, err);

	if (ret == 0 && batch->gone_count)
		ret = a->ops->remove(a->arg, APPLY_IDENTITIES, batch->gone, batch->gone_count, err);
	for (size_t i = 0; i < batch->gone_count && ret == 0; i++) {
		u64map_remove(&a->identities, batch->gone[i]);
		u64map_remove(&a->not_programmed, batch->gone[i]);
	}
	a->freed |= batch->gone_count > 0;
	return ret;
}

static uint64_t transitional(const struct plan *plan, const struct move *move)
{
	const struct transition key = { move->as_from, move->to, 0 };
	size_t at = array_lower_bound(&key, plan->transitions, plan->transition_count, sizeof(key), transition_cmp);

	if (at < plan->transition_count && transition_cmp(&plan->transitions[at], &key) == 0)
		return plan->transitions[at].peer;
	return move->to;
}

int identities_move(struct apply *a, const struct plan *plan, enum stage stage, struct err *err)
{
	_cleanup_(identity_batch_free) struct identity_batch batch = { 0 };
	int ret = identity_batch_new(&batch, plan->move_count, err);

	for (size_t i = 0; i < plan->move_count && ret == 0; i++) {
		const struct move *move = &plan->moves[i];
		uint64_t by = transitional(plan, move);

		if (stage == SETTLE ? by != move->to : stage == (by == WR_PEER_NONE ? LEAVE : ENTER))
			identity_batch_add(&batch, move->identity, stage == SETTLE ? move->to : by);
	}
	return ret < 0 ? ret : write_identities(a, &batch, err);
}
