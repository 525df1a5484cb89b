/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Protobuf: what a real API server (1.34) has sent, and objects encoded here by the tables of messages, with unknown
 * fields in between. (Only a real server shows that the field numbers are right: tests/kube/test_watch.py.)
 */
#include <errno.h>

#include "cleanup.h"

#include "fields.h"
#include "json.h"
#include "object_text.h"
#include "protobuf.h"
#include "protobuf_messages.h"
#include "stream.h"
#include "rig.h"

/* --- encoding --- */

struct bytes {
	uint8_t v[65536];
	size_t size;
};

static void put(struct bytes *b, const void *data, size_t size)
{
	assert_true(b->size + size <= sizeof(b->v));
	memcpy(b->v + b->size, data, size);
	b->size += size;
}

static void put_varint(struct bytes *b, uint64_t number)
{
	while (number >= 0x80) {
		put(b, &(uint8_t){ (uint8_t)(number | 0x80) }, 1);
		number >>= 7;
	}
	put(b, &(uint8_t){ (uint8_t)number }, 1);
}

static void put_number(struct bytes *b, unsigned field, uint64_t number)
{
	put_varint(b, field << 3);
	put_varint(b, number);
}

static void put_bytes(struct bytes *b, unsigned field, const void *data, size_t size)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, size);
	put(b, data, size);
}

static void put_text(struct bytes *b, unsigned field, const char *text)
{
	put_bytes(b, field, text, strlen(text));
}

static void put_unknown(struct bytes *b)
{
	put_number(b, 1000, UINT64_MAX);
	put_text(b, 1001, "unknown");
	put_varint(b, 1002 << 3 | 1);
	put(b, "12345678", 8);
	put_varint(b, 1003 << 3 | 5);
	put(b, "1234", 4);
}

static void encode(struct bytes *b, const struct wire_message *message, const json_t *object);

static void encode_pair(struct bytes *b, unsigned field, const char *key, const char *value)
{
	struct bytes *pair = calloc(1, sizeof(*pair));

	put_text(pair, 1, key);
	put_text(pair, 2, value);
	put_bytes(b, field, pair->v, pair->size);
	free(pair);
}

static void encode_value(struct bytes *b, const struct wire_field *f, const json_t *value)
{
	struct bytes *message = calloc(1, sizeof(*message));
	const char *key;
	json_t *each;

	if (f->form == WIRE_STRING)
		put_text(b, f->number, json_string_value(value));
	else if (f->form == WIRE_NUMBER)
		put_number(b, f->number, (uint64_t)json_integer_value(value));
	else if (f->form == WIRE_BOOL)
		put_number(b, f->number, json_is_true(value));
	else if (f->form == WIRE_MAP || f->form == WIRE_ANNOTATIONS)
		json_object_foreach((json_t *)value, key, each)
			encode_pair(b, f->number, key, json_string_value(each));
	if (f->form == WIRE_MESSAGE)
		encode(message, f->message, value);
	if (f->form == WIRE_INT_OR_STRING) {
		put_number(message, 1, json_is_string(value));
		put_number(message, 2, (uint64_t)json_integer_value(value));
		put_text(message, 3, json_is_string(value) ? json_string_value(value) : "");
	}
	if (f->form == WIRE_MESSAGE || f->form == WIRE_INT_OR_STRING || f->form == WIRE_PRESENT)
		put_bytes(b, f->number, message->v, message->size);
	free(message);
}

static void encode(struct bytes *b, const struct wire_message *message, const json_t *object)
{
	if (!message->strict)
		put_unknown(b);
	for (const struct wire_field *f = message->fields; f->number; f++) {
		const json_t *value = json_object_get(object, f->name);
		size_t i;
		json_t *each;

		if (f->list)
			json_array_foreach((json_t *)value, i, each)
				encode_value(b, f, each);
		else if (value)
			encode_value(b, f, value);
		if (!message->strict)
			put_unknown(b);
	}
}

/* --- objects --- */

static const struct {
	const char *kind, *json;
} objects[] = {
	{ "Namespace", "{'metadata':{'name':'a','uid':'u','resourceVersion':'7','labels':{'a':'b','c':''}}}" },
	{ "Pod", "{'metadata':{'namespace':'d','name':'p','labels':{'app':'web'},'annotations':{'kubernetes.io/config.mirror':'x'},"
		 "'deletionTimestamp':true},'spec':{'nodeName':'n1','hostNetwork':true,'containers':[{'ports':[{'name':'http','containerPort':80},"
		 "{'name':'dns','containerPort':53,'protocol':'UDP'}]}],'initContainers':[{'restartPolicy':'Always','ports':[]}]},"
		 "'status':{'phase':'Running','podIP':'10.0.0.1','podIPs':[{'ip':'10.0.0.1'},{'ip':'fd00::1'}]}}" },
	{ "Node", "{'metadata':{'name':'n1','creationTimestamp':{'seconds':1767323045},'deletionTimestamp':true},'spec':{'podCIDR':'10.0.0.0/24',"
		  "'podCIDRs':['10.0.0.0/24','fd00::/64'],'taints':[{'key':'ToBeDeletedByClusterAutoscaler'}]},"
		  "'status':{'addresses':[{'type':'InternalIP','address':'192.168.0.1'},{'type':'Hostname','address':'n1'}]}}" },
	{ "Service", "{'metadata':{'namespace':'d','name':'s'},'spec':{'type':'NodePort','clusterIP':'10.96.0.1','clusterIPs':['10.96.0.1'],"
		     "'sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':60}},'internalTrafficPolicy':'Local',"
		     "'externalIPs':['198.51.100.1','2001:db8::1'],'loadBalancerSourceRanges':['192.0.2.0/24'],"
		     "'externalTrafficPolicy':'Local','healthCheckNodePort':32000,"
		     "'ports':[{'name':'a','port':80,'protocol':'TCP','nodePort':30080},{'name':'b','port':53,'protocol':'UDP'}]},"
		     "'status':{'loadBalancer':{'ingress':[{'ip':'198.51.100.2','ipMode':'VIP'},{'ip':'198.51.100.3','ipMode':'Proxy'},{}]}}}" },
	{ "EndpointSlice", "{'metadata':{'namespace':'d','name':'s-1','labels':{'kubernetes.io/service-name':'s'}},'addressType':'IPv4',"
			   "'endpoints':[{'addresses':['10.0.0.1'],'conditions':{'ready':false,'serving':true,'terminating':true},"
			   "'nodeName':'n1'},{'addresses':['10.0.0.2'],'conditions':{}}],'ports':[{'name':'a','port':8080,'protocol':'TCP'}]}" },
	{ "NetworkPolicy", "{'metadata':{'namespace':'d','name':'q'},'spec':{'podSelector':{},'policyTypes':['Ingress','Egress'],"
			   "'ingress':[{'from':[{'podSelector':{'matchLabels':{'a':'b'}},'namespaceSelector':{'matchExpressions':[{'key':'k',"
			   "'operator':'In','values':['x','']}]}},{'ipBlock':{'cidr':'10.0.0.0/8','except':['10.1.0.0/16']}}],"
			   "'ports':[{'protocol':'TCP','port':80,'endPort':90},{'port':'http'}]}],'egress':[{}]}}" },
};

static json_t *json_of(const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	json_t *json;

	for (char *c = copy; *c; c++) {
		if (*c == '\'')
			*c = '"';
	}
	json = json_loads(copy, 0, NULL);
	assert_non_null(json);
	return json;
}

static void decodes_the_same_as_json(void **state)
{
	struct bytes *b = calloc(1, sizeof(*b));
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		json_auto_t *json = json_of(objects[i].json), *decoded = NULL;

		b->size = 0;
		encode(b, wire_message_of(objects[i].kind), json);
		/* JSON of the server has no empty lists. */
		if (strcmp(objects[i].kind, "Pod") == 0)
			json_object_del(json_array_get(json_object_get(json_object_get(json, "spec"), "initContainers"), 0), "ports");
		assert_ok(protobuf_item(objects[i].kind, b->v, b->size, &decoded, &err));
		if (!json_equal(decoded, json))
			fail_msg("%s", json_dumps(decoded, 0));
	}
	free(b);
}

/* Cut short anywhere, the result is an error or the objects before the cut; never a crash. */
static void cut_anywhere(void **state)
{
	struct bytes *b = calloc(1, sizeof(*b));

	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		json_auto_t *json = json_of(objects[i].json);

		b->size = 0;
		encode(b, wire_message_of(objects[i].kind), json);
		for (size_t cut = 0; cut < b->size; cut++) {
			uint8_t *exact = malloc(cut + 1); /* so that a sanitizer sees reads beyond it */
			json_auto_t *decoded = NULL;
			struct err err = { 0 };

			memcpy(exact, b->v, cut);
			if (protobuf_item(objects[i].kind, exact, cut, &decoded, &err) < 0)
				assert_true(err.msg[0]);
			free(exact);
		}
	}
	free(b);
}

static void every_field_of_a_policy_is_decoded(void **state)
{
	struct bytes *b = calloc(1, sizeof(*b)), *spec = calloc(1, sizeof(*spec));
	json_auto_t *decoded = NULL;
	struct err err = { 0 };

	put_text(spec, 9, "what only later versions know");
	put_bytes(b, 2, spec->v, spec->size);
	assert_ok(protobuf_item("NetworkPolicy", b->v, b->size, &decoded, &err));
	assert_true(json_is_true(json_object_get(json_object_get(decoded, "spec"), "field 9")));
	free(b);
	free(spec);
}

static void unknown_annotations_are_skipped(void **state)
{
	struct bytes *b = calloc(1, sizeof(*b)), *metadata = calloc(1, sizeof(*metadata));
	json_auto_t *decoded = NULL, *expected = json_of("{'metadata':{'annotations':{'kubernetes.io/config.mirror':'y','warren.dev/agent':'z'}}}");
	struct err err = { 0 };

	encode_pair(metadata, 12, "a", "x");
	encode_pair(metadata, 12, "kubernetes.io/config.mirror", "y");
	encode_pair(metadata, 12, "warren.dev/agent", "z");
	put_bytes(b, 1, metadata->v, metadata->size);
	assert_ok(protobuf_item("Pod", b->v, b->size, &decoded, &err));
	assert_true(json_equal(decoded, expected));
	free(b);
	free(metadata);
}

static void refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} rows[] = {
#define ROW(text) { text, sizeof(text) - 1 }
		ROW("\x0a"),				  /* a field without its length */
		ROW("\x0a\x05\x01"),			  /* shorter than its length field */
		ROW("\x08\x01"),			  /* metadata that is a number */
		ROW("\x0b"),				  /* a group */
		ROW("\x0a\x03\x0a\x01\xff"),		  /* not UTF-8 */
		ROW("\x0a\x06\x5a\x04\x0a\x02\x00z"),	  /* a label's key with a NUL */
		ROW("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *decoded = NULL;
		struct err err = { 0 };

		if (protobuf_item("Pod", rows[i].bytes, rows[i].size, &decoded, &err) != -EINVAL)
			fail_msg("row %zu: %s", i, json_dumps(decoded, 0));
		assert_true(err.msg[0]);
	}
}

static void kinds_that_are_not_known(void **state)
{
	json_t *decoded = NULL;
	struct err err = { 0 };

	assert_int_equal(protobuf_item("Secret", "", 0, &decoded, &err), -ENOTSUP);
	assert_int_equal(protobuf_object("k8s", 3, &decoded, &err), -EINVAL);
	assert_int_equal(protobuf_object("k8s", 4, &decoded, &err), -EINVAL);
	assert_int_equal(protobuf_object("{\"kind\":\"Pod\"}", 14, &decoded, &err), -EINVAL);
}

/* --- streams of a real server --- */

static const char slices[] =
	"k8s\x00\n(\n\x13" "discovery.k8s.io/v1\x12\x11" "EndpointSliceList\x12\xf6\x02\n\t\n\x00\x12\x03" "201\x1a\x00\x12\xe8\x02\n\xbc\x02\n"
	"\nkubernetes\x12\x00\x1a\x07" "default\"\x00*$2ac9697c-ed82-4283-a239-c217f6ea6a29" "2\x03" "2018\x01" "B\x08\x08\xae\xf3\x88\xd8\x06"
	"\x10\x00Z(\n\x1akubernetes.io/service-name\x12\nkubernetes\x8a\x01\xbe\x01\n\x0ekube-apiserver\x12\x06Update\x1a\x13"
	"discovery.k8s.io/v1\"\x08\x08\xae\xf3\x88\xd8\x06\x10\x00" "2\x08" "FieldsV1:y\nw{\"f:addressType\":{},\"f:endpoints\":{},"
	"\"f:metadata\":{\"f:labels\":{\".\":{},\"f:kubernetes.io/service-name\":{}}},\"f:ports\":{}}B\x00\x12\x10\n\n10.10.0.10"
	"\x12\x02\x08\x01\x1a\x0f\n\x05https\x12\x03TCP\x18\xab" "2\"\x04IPv4\x1a\x00\"\x00";

static const char events[] =
	"\x00\x00\x01" "1\n\x05" "ADDED\x12\xa7\x02\n\xa4\x02k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12\x88\x02\n\xed\x01\n\x07" "default"
	"\x12\x00\x1a\x00\"\x00*$22455baf-30b7-4ce1-958b-e567c8abb823" "2\x02" "208\x00" "B\x08\x08\xac\xf3\x88\xd8\x06\x10\x00Z&\n"
	"\x1bkubernetes.io/metadata.name\x12\x07" "default\x8a\x01}\n\x0ekube-apiserver\x12\x06Update\x1a\x02v1\"\x08\x08\xac\xf3\x88"
	"\xd8\x06\x10\x00" "2\x08" "FieldsV1:I\nG{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:kubernetes.io/metadata.name\":{}}}}B\x00"
	"\x12\x0c\n\nkubernetes\x1a\x08\n\x06" "Active\x1a\x00\"\x00"
	"\x00\x00\x00g\n\x08" "BOOKMARK\x12[\nYk8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12>\n6\n\x00\x12\x00\x1a\x00\"\x00*\x00" "2\x03"
	"2018\x00" "B\x00" "b!\n\x19k8s.io/initial-events-end\x12\x04true\x12\x00\x1a\x02\n\x00\x1a\x00\"\x00";

static FILE *seen;

static int note_head(void *arg, char *data, size_t size)
{
	json_auto_t *list = NULL;
	struct err err = { 0 };

	assert_ok(protobuf_list_head(data, size, &list, &err));
	json_dumpf(list, seen, JSON_COMPACT);
	return 0;
}

static int note_item(void *arg, char *data, size_t size)
{
	json_auto_t *object = NULL;
	struct err err = { 0 };

	assert_ok(protobuf_item("EndpointSlice", data, size, &object, &err));
	json_dumpf(object, seen, JSON_COMPACT | JSON_SORT_KEYS);
	return 0;
}

static int note_event(void *arg, char *data, size_t size)
{
	json_t *type = NULL, *object = NULL;
	json_auto_t *event = NULL;
	struct err err = { 0 };

	assert_ok(protobuf_event(data, size, &type, &object, &err));
	event = json_pack("{so,so}", "type", type, "object", object);
	json_dumpf(event, seen, JSON_COMPACT | JSON_SORT_KEYS);
	return 0;
}

/* In pieces of `step` bytes. */
static void feed(enum stream_shape shape, const char *data, size_t size, size_t step, const char *expected)
{
	const struct stream_callbacks callbacks = { note_head, shape == STREAM_LIST ? note_item : note_event, NULL, NULL };
	struct protobuf_stream *s = protobuf_stream_open(shape, &callbacks);
	struct err err = { 0 };
	char *text = NULL;
	size_t length;

	seen = open_memstream(&text, &length);
	for (size_t at = 0; at < size; at += step)
		assert_ok(protobuf_stream_feed(s, (const uint8_t *)data + at, at + step < size ? step : size - at, &err));
	assert_true(protobuf_stream_complete(s));
	protobuf_stream_free(s);
	fclose(seen);
	assert_string_equal(text, expected);
	free(text);
}

static void streams_of_a_real_server(void **state)
{
	static const size_t steps[] = { 1, 2, 3, 7, 64, 100000 };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		feed(STREAM_LIST, slices, sizeof(slices) - 1, steps[i],
		     "{\"metadata\":{\"resourceVersion\":\"201\"}}{\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.10.0.10\"],"
		     "\"conditions\":{\"ready\":true}}],\"metadata\":{\"labels\":{\"kubernetes.io/service-name\":\"kubernetes\"},\"name\":"
		     "\"kubernetes\",\"namespace\":\"default\",\"resourceVersion\":\"201\",\"uid\":\"2ac9697c-ed82-4283-a239-c217f6ea6a29\"},"
		     "\"ports\":[{\"name\":\"https\",\"port\":6443,\"protocol\":\"TCP\"}]}");
		feed(STREAM_EVENTS, events, sizeof(events) - 1, steps[i],
		     "{\"object\":{\"metadata\":{\"labels\":{\"kubernetes.io/metadata.name\":\"default\"},\"name\":\"default\","
		     "\"resourceVersion\":\"20\",\"uid\":\"22455baf-30b7-4ce1-958b-e567c8abb823\"}},\"type\":\"ADDED\"}"
		     "{\"object\":{\"metadata\":{\"annotations\":{\"k8s.io/initial-events-end\":\"true\"},\"resourceVersion\":\"201\"}},"
		     "\"type\":\"BOOKMARK\"}");
	}
}

static int no_piece(void *arg, char *data, size_t size)
{
	return 0;
}

static int count_too_long(void *arg, size_t size)
{
	*(size_t *)arg += size;
	return 0;
}

static void streams_that_are_cut_off(void **state)
{
	const struct stream_callbacks callbacks = { no_piece, no_piece, NULL, NULL };

	/* Bytes behind the list are ignored. */
	for (size_t cut = 0; cut < sizeof(slices) - 1; cut++) {
		struct protobuf_stream *s = protobuf_stream_open(STREAM_LIST, &callbacks);
		struct err err = { 0 };

		assert_ok(protobuf_stream_feed(s, (const uint8_t *)slices, cut, &err));
		if (cut < sizeof(slices) - 5)
			assert_false(protobuf_stream_complete(s));
		protobuf_stream_free(s);
	}
}

static void streams_refused(void **state)
{
	static const struct {
		enum stream_shape shape;
		const char *bytes;
		size_t size;
	} rows[] = {
#define LIST_ROW(text) { STREAM_LIST, text, sizeof(text) - 1 }
		LIST_ROW("k8t\0"),
		LIST_ROW("k8s\0\x00"),			/* field 0 */
		LIST_ROW("k8s\0\x0b"),			/* a group */
		LIST_ROW("k8s\0\x12\x02\x12\x00"),	/* an item before the metadata */
		LIST_ROW("k8s\0\x12\x03\x0a\x05\x00"),	/* metadata longer than the list */
		LIST_ROW("k8s\0\x12\x01\x0a\x00"),	/* the list ends within a field */
		LIST_ROW("k8s\0\x12\x04\x09\x00\x00\x00\x00"),
		LIST_ROW("k8s\0\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		LIST_ROW("k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		{ STREAM_EVENTS, "\x7f\xff\xff\xff", 4 },
	};
	const struct stream_callbacks callbacks = { no_piece, no_piece, NULL, NULL };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct protobuf_stream *s = protobuf_stream_open(rows[i].shape, &callbacks);
		struct err err = { 0 };

		if (protobuf_stream_feed(s, (const uint8_t *)rows[i].bytes, rows[i].size, &err) != -EINVAL)
			fail_msg("row %zu is accepted", i);
		assert_true(strncmp(err.msg, "not protobuf of the API: ", 25) == 0);
		protobuf_stream_free(s);
	}
}

static void event_that_is_too_long(void **state)
{
	static uint8_t event[(5 << 20) + 8] = { 0, 0x50, 0, 0 };
	size_t skipped = 0;
	const struct stream_callbacks callbacks = { no_piece, no_piece, count_too_long, &skipped };
	struct protobuf_stream *s = protobuf_stream_open(STREAM_EVENTS, &callbacks);
	struct err err = { 0 };

	assert_ok(protobuf_stream_feed(s, event, 4 + (5 << 20), &err));
	assert_int_equal(skipped, 5 << 20);
	assert_true(protobuf_stream_complete(s));
	protobuf_stream_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes_the_same_as_json),	    cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(every_field_of_a_policy_is_decoded), cmocka_unit_test(unknown_annotations_are_skipped),
		cmocka_unit_test(refused),		    cmocka_unit_test(kinds_that_are_not_known),
		cmocka_unit_test(streams_of_a_real_server), cmocka_unit_test(streams_that_are_cut_off), cmocka_unit_test(streams_refused),
		cmocka_unit_test(event_that_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
