/* SPDX-License-Identifier: BSD-2-Clause */
#include "reading.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "array.h"
#include "cleanup.h"
#include "fields.h"
#include "file.h"

#define FILE_LIMIT (16u << 20) /* bytes */

void reading_free(struct reading *r)
{
	for (size_t i = 0; i < r->count; i++)
		object_free(&r->objects[i]);
	free(r->objects);
	*r = (struct reading){ 0 };
}

void reading_note(struct reading *r, const struct err *problem)
{
	if (r->problems++)
		return;
	r->first = *problem;
	text_printable(r->first.msg); /* the names of files are anything */
}

static int on_object(void *arg, struct object *o)
{
	struct reading *r = arg;

	if (array_grow(&r->objects, &r->room, r->count, sizeof(*r->objects)) < 0) {
		object_free(o);
		return -ENOMEM;
	}
	r->objects[r->count++] = *o;
	return 0;
}

static void on_invalid(void *arg, const struct err *err)
{
	struct reading *r = arg;
	struct err e = *err;

	err_wrap(&e, "document %d", r->document);
	r->broken = true;
	reading_note(r, &e);
}

static int on_document(json_t *document, int number, void *arg)
{
	struct reading *r = arg;

	r->document = number;
	return objects_decode(document, &(struct object_sink){ on_object, on_invalid, r });
}

/*
 * Opened without waiting: it might be a fifo. Symbolic links are followed, as a ConfigMap volume is made of them.
 */
static int file_text(int directory, const char *name, char **text, size_t *size, struct err *err)
{
	_cleanup_fd_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_errno(err, errno, "cannot open it");
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "cannot examine it");
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "not a regular file");
	return file_read_fd(fd, "it", FILE_LIMIT, text, size, err);
}

int reading_fill(struct reading *r, int directory, const char *name)
{
	_cleanup_free_ char *text = NULL;
	struct err err = { 0 };
	size_t size = 0;
	int ret = file_text(directory, name, &text, &size, &err);

	if (ret == 0)
		ret = documents_parse(text, size, "manifest", on_document, r, &err);
	if (ret == -ENOENT || ret == -ENOMEM || ret == 0)
		return ret;
	reading_free(r);
	r->broken = true;
	reading_note(r, &err);
	return 0;
}
