/* SPDX-License-Identifier: BSD-2-Clause */
#include "attachment.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "array.h"
#include "cleanup.h"
#include "file.h"
#include "json.h"
#include "paths.h"
#include "str.h"

#define BOOT_ID_LEN 36 /* characters of a UUID */
#define RECORD_LIMIT 32768 /* bytes; twice the longest record, every character of which is escaped */

/*
 * One directory per state: a state change is a rename, which needs no space on a full disk, and a search for unfinished
 * deletions reads a directory that is nearly always empty. In the order of a record's life: a reader without a lock that
 * reads the directories in this order cannot miss a record that moves meanwhile.
 */
static const char *const directories[] = {
	[ATTACHMENT_ADDING] = WARREN_ATTACHMENT_DIR "/adding",
	[ATTACHMENT_READY] = WARREN_ATTACHMENT_DIR "/ready",
	[ATTACHMENT_DELETING] = WARREN_ATTACHMENT_DIR "/deleting",
};
#define STATES 3

const char *attachment_directory(enum attachment_state state)
{
	return directories[state];
}

/* The string members of a record; the boot id comes first, see boot_id_is_past(). */
static const struct text_member {
	const char *key;
	size_t offset, room;
} text_members[] = {
#define TEXT(key, member)                                                                                              \
	{                                                                                                              \
		key, offsetof(struct attachment, member), sizeof(((struct attachment *)0)->member)                     \
	}
	TEXT("bootID", boot_id),	     TEXT("containerID", container_id), TEXT("ifname", ifname),
	TEXT("network", network),	     TEXT("hostIfname", host_ifname),	TEXT("netns", netns),
	TEXT("podNamespace", pod_namespace), TEXT("podName", pod_name), TEXT("podUID", pod_uid),
	TEXT("labels", labels),
#undef TEXT
};
#define TEXT_MEMBERS ARRAY_SIZE(text_members)

int attachment_key(const char *container_id, const char *ifname, char key[ATTACHMENT_KEY_MAX + 1], struct err *err)
{
	if (!*container_id || !*ifname || strpbrk(container_id, "@/") || strpbrk(ifname, "@/") || *container_id == '.')
		return err_set(err, EINVAL, "container \"%s\", interface \"%s\" cannot name an attachment",
			       container_id, ifname);
	if (snprintf(key, ATTACHMENT_KEY_MAX + 1, "%s@%s", container_id, ifname) > ATTACHMENT_KEY_MAX)
		return err_set(err, ENAMETOOLONG,
			       "container id %.32s... is too long: it and the interface's name have %d bytes",
			       container_id, ATTACHMENT_KEY_MAX - 1);
	return 0;
}

static int path_of(enum attachment_state state, const char *container_id, const char *ifname, char path[FILE_PATH_MAX],
		   struct err *err)
{
	char key[ATTACHMENT_KEY_MAX + 1];
	int ret = attachment_key(container_id, ifname, key, err);

	if (ret == 0)
		snprintf(path, FILE_PATH_MAX, "%s/%s", directories[state], key);
	return ret;
}

static json_t *encode(const struct attachment *a)
{
	char ip[IP_STRLEN], mac[MAC_STRLEN];
	json_t *json = json_object(), *ips = json_array();

	for (size_t i = 0; i < TEXT_MEMBERS; i++)
		json_object_set_new(json, text_members[i].key, json_string((const char *)a + text_members[i].offset));
	if (a->ip4.family)
		json_array_append_new(ips, json_string(ip_format(&a->ip4, ip)));
	if (a->ip6.family)
		json_array_append_new(ips, json_string(ip_format(&a->ip6, ip)));
	if (json_object_set_new(json, "ips", ips) < 0 ||
	    json_object_set_new(json, "mac", json_string(mac_format(a->mac, mac))) < 0 ||
	    json_object_set_new(json, "agent", json_boolean(a->agent)) < 0 ||
	    json_object_set_new(json, "hostPorts", json_boolean(a->host_ports)) < 0 ||
	    json_object_set_new(json, "mtu", json_integer(a->mtu)) < 0 ||
	    json_object_set_new(json, "hostIfindex", json_integer(a->host_ifindex)) < 0 ||
	    json_object_set_new(json, "netnsDevice", json_integer((json_int_t)a->netns_dev)) < 0 ||
	    json_object_set_new(json, "netnsInode", json_integer((json_int_t)a->netns_inode)) < 0 ||
	    json_object_size(json) != TEXT_MEMBERS + 8) {
		json_decref(json);
		return NULL;
	}
	return json;
}

int attachment_save(const struct attachment *a, struct err *err)
{
	char path[FILE_PATH_MAX];
	json_auto_t *json = encode(a);
	_cleanup_free_ char *text = NULL;
	int ret = path_of(a->state, a->container_id, a->ifname, path, err);

	if (ret < 0)
		return ret;
	text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
	if (!text)
		return err_set(err, EINVAL, "cannot write %s: not text in UTF-8", path);
	ret = file_write(path, text, strlen(text), err);
	if (ret != -ENOENT)
		return ret;
	for (int i = 0; i < STATES; i++) {
		ret = dir_make(directories[i], err);
		if (ret < 0)
			return ret;
	}
	return file_write(path, text, strlen(text), err);
}

int attachment_set_state(struct attachment *a, enum attachment_state state, struct err *err)
{
	char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
	int ret = path_of(a->state, a->container_id, a->ifname, from, err);

	if (ret < 0 || a->state == state)
		return ret;
	path_of(state, a->container_id, a->ifname, to, NULL);
	if (rename(from, to) < 0)
		return err_errno(err, errno, "cannot rename %s to %s", from, to);
	a->state = state;
	return 0;
}

static int decode_text(const json_t *json, struct attachment *a, struct err *err)
{
	for (size_t i = 0; i < TEXT_MEMBERS; i++) {
		const char *value = "";
		int ret = json_get_string(json, text_members[i].key, &value, err);

		if (ret < 0 && ret != -ENOENT)
			return ret;
		if (!str_copy((char *)a + text_members[i].offset, text_members[i].room, value))
			return err_set(err, EINVAL, "\"%s\" is too long", text_members[i].key);
	}
	return 0;
}

static int decode_ips(const json_t *json, struct attachment *a, struct err *err)
{
	json_t *ips = NULL, *item;
	size_t i;
	int ret = json_get_array(json, "ips", &ips, err);

	if (ret < 0 && ret != -ENOENT)
		return ret;
	json_array_foreach(ips, i, item) {
		struct ip ip;

		if (!json_is_string(item) || ip_parse(json_string_value(item), &ip) < 0)
			return err_set(err, EINVAL, "\"ips\" must be addresses");
		if (ip.family == AF_INET)
			a->ip4 = ip;
		else
			a->ip6 = ip;
	}
	return 0;
}

static int decode(const json_t *json, struct attachment *a, struct err *err)
{
	int64_t ifindex = 0, dev = 0, inode = 0, mtu = 0;
	const char *mac = "";
	int ret = decode_text(json, a, err);

	if (ret == 0)
		ret = decode_ips(json, a, err);
	if (ret < 0)
		return ret;
	if (json_get_int(json, "hostIfindex", 0, INT32_MAX, &ifindex, err) == -EINVAL ||
	    json_get_int(json, "netnsDevice", INT64_MIN, INT64_MAX, &dev, err) == -EINVAL ||
	    json_get_int(json, "netnsInode", INT64_MIN, INT64_MAX, &inode, err) == -EINVAL ||
	    json_get_int(json, "mtu", 0, UINT16_MAX, &mtu, err) == -EINVAL ||
	    json_get_string(json, "mac", &mac, err) == -EINVAL ||
	    json_get_bool(json, "hostPorts", &a->host_ports, err) == -EINVAL ||
	    json_get_bool(json, "agent", &a->agent, err) == -EINVAL)
		return -EINVAL;
	if (mac_parse(mac, a->mac) < 0)
		memset(a->mac, 0, sizeof(a->mac)); /* ADD has not chosen it yet */
	a->host_ifindex = (uint32_t)ifindex;
	a->mtu = (uint32_t)mtu;
	a->netns_dev = (uint64_t)dev;
	a->netns_inode = (uint64_t)inode;
	return 0;
}

/* Clears the record of an earlier boot: its ifindex, for example, may be another pod's by now. */
static void forget_past(struct attachment *a, const char *container_id, const char *ifname, const char *boot)
{
	*a = (struct attachment){ .state = a->state };
	str_copy(a->container_id, sizeof(a->container_id), container_id);
	str_copy(a->ifname, sizeof(a->ifname), ifname);
	str_copy(a->boot_id, sizeof(a->boot_id), boot);
}

/* Loads one file. -EBADMSG if it is damaged, or belongs to another attachment than its name. */
static int load_path(const char *path, const char *container_id, const char *ifname, struct attachment *a,
		     struct err *err)
{
	_cleanup_free_ char *text = NULL;
	json_auto_t *json = NULL;
	char boot[sizeof(a->boot_id)], now[sizeof(a->boot_id)];
	size_t size;
	int ret = file_read_regular(path, RECORD_LIMIT, &text, &size, err);

	if (ret < 0 && ret != -EFBIG && ret != -EBADMSG)
		return ret;
	if (ret == 0 && boot_id_is_past(text, boot)) {
		forget_past(a, container_id, ifname, boot);
		return 0;
	}
	if (ret == 0) {
		json = json_parse_object(text, size, "its text", err);
		ret = json ? decode(json, a, err) : -EINVAL;
	}
	if (ret == 0 && (strcmp(a->container_id, container_id) != 0 || strcmp(a->ifname, ifname) != 0))
		ret = err_set(err, EINVAL, "it is the record of another attachment");
	if (ret < 0) {
		err_wrap(err, "the record %s is damaged", path);
		return -EBADMSG;
	}
	/* In a record of an earlier release bootID is not the first member. */
	str_copy(boot, sizeof(boot), a->boot_id);
	if (*boot && boot_id(now, NULL) == 0 && strcmp(boot, now) != 0)
		forget_past(a, container_id, ifname, boot);
	return 0;
}

int attachment_load(const char *container_id, const char *ifname, struct attachment *a, struct err *err)
{
	int ret = -ENOENT;

	for (int state = 0; state < STATES && ret == -ENOENT; state++) {
		char path[FILE_PATH_MAX];

		*a = (struct attachment){ .state = state };
		ret = path_of(state, container_id, ifname, path, err);
		if (ret == 0)
			ret = load_path(path, container_id, ifname, a, err);
	}
	return ret;
}

int attachment_remove(const char *container_id, const char *ifname, struct err *err)
{
	for (int state = 0; state < STATES; state++) {
		char path[FILE_PATH_MAX], temporary[FILE_PATH_MAX];
		int ret = path_of(state, container_id, ifname, path, err);

		if (ret == 0)
			ret = file_temporary(path, temporary, err);
		if (ret < 0)
			return ret;
		unlink(temporary); /* of a killed writer */
		if (unlink(path) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR)
			return err_errno(err, errno, "cannot remove %s", path);
		ret = dir_remove(path, err); /* a damaged record may be anything */
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Calls fn for one file of a directory; 0 for a file that is no record. */
static int each_file(enum attachment_state state, const char *name,
		     int (*fn)(const struct attachment *a, bool damaged, void *arg), void *arg)
{
	struct attachment a = { .state = state };
	const char *at = strchr(name, '@');
	char path[FILE_PATH_MAX];
	char container_id[sizeof(a.container_id)];
	char ifname[sizeof(a.ifname)];
	int ret;

	if (name[0] == '.' || !at || (size_t)(at - name) >= sizeof(container_id) ||
	    !str_copy(ifname, sizeof(ifname), at + 1))
		return 0;
	memcpy(container_id, name, at - name);
	container_id[at - name] = '\0';
	if (path_of(state, container_id, ifname, path, NULL) < 0)
		return 0;
	ret = load_path(path, container_id, ifname, &a, NULL);
	if (ret == -ENOENT)
		return 0; /* removed, or moved to a later directory */
	if (ret < 0) {
		a = (struct attachment){ .state = state };
		str_copy(a.container_id, sizeof(a.container_id), container_id);
		str_copy(a.ifname, sizeof(a.ifname), ifname);
	}
	return fn(&a, ret < 0, arg);
}

int attachment_each_in(enum attachment_state state, int (*fn)(const struct attachment *a, bool damaged, void *arg),
		       void *arg, struct err *err)
{
	_cleanup_closedir_ DIR *dir = opendir(directories[state]);
	struct dirent *entry;

	if (!dir)
		return errno == ENOENT ? 0 : err_errno(err, errno, "cannot open %s", directories[state]);
	while ((errno = 0, entry = readdir(dir))) {
		int ret = each_file(state, entry->d_name, fn, arg);

		if (ret)
			return ret;
	}
	return errno ? err_errno(err, errno, "cannot read %s", directories[state]) : 0;
}

int attachment_each(int (*fn)(const struct attachment *a, bool damaged, void *arg), void *arg, struct err *err)
{
	for (int state = 0; state < STATES; state++) {
		int ret = attachment_each_in(state, fn, arg, err);

		if (ret)
			return ret;
	}
	return 0;
}

bool attachment_dead(const struct attachment *a)
{
	char now[sizeof(a->boot_id)];
	struct stat st;

	if (boot_id(now, NULL) == 0 && strcmp(now, a->boot_id) != 0)
		return true;
	if (stat(a->netns, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR;
	return st.st_dev != a->netns_dev || st.st_ino != a->netns_inode;
}

int boot_id(char buf[40], struct err *err)
{
	static const char path[] = "/proc/sys/kernel/random/boot_id";
	static _Thread_local char known[BOOT_ID_LEN + 1]; /* every record is compared with it */
	_cleanup_free_ char *text = NULL;
	size_t size;
	int ret;

	if (!*known) {
		ret = file_read(path, 64, &text, &size, err);
		if (ret < 0)
			return ret;
		text[strcspn(text, "\n")] = '\0';
		if (strlen(text) != BOOT_ID_LEN)
			return err_set(err, EPROTO, "%s holds no boot id", path);
		str_copy(known, sizeof(known), text);
	}
	str_copy(buf, 40, known);
	return 0;
}

bool boot_id_is_past(const char *text, char id[40])
{
	char now[40];
	int end = 0;

	return sscanf(text, " { \"bootID\" : \"%36[0-9a-f-]\"%n", id, &end) == 1 && end && strlen(id) == BOOT_ID_LEN &&
	       boot_id(now, NULL) == 0 && strcmp(id, now) != 0;
}
