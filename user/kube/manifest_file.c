/* SPDX-License-Identifier: BSD-2-Clause */
#include "manifest_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "array.h"
#include "cleanup.h"
#include "decode.h"
#include "documents.h"
#include "file.h"
#include "str.h"

#define FILE_LIMIT (16u << 20) /* bytes */

void manifest_file_free(struct manifest_file *f)
{
	for (size_t i = 0; i < f->count; i++)
		object_free(&f->objects[i]);
	free(f->objects);
	*f = (struct manifest_file){ 0 };
}

void manifest_file_note(struct manifest_file *f, const struct err *problem)
{
	if (f->problems++)
		return;
	f->first = *problem;
	str_printable(f->first.msg); /* a file's name may hold any byte */
}

static int on_object(void *arg, struct object *o)
{
	struct manifest_file *f = arg;

	if (array_push(f->objects, f->room, f->count, *o) == 0)
		return 0;
	object_free(o);
	return -ENOMEM;
}

static void on_invalid(void *arg, const struct err *err)
{
	struct manifest_file *f = arg;
	struct err e = *err;

	err_wrap(&e, "document %d", f->document);
	f->broken = true;
	manifest_file_note(f, &e);
}

static int on_document(json_t *document, int number, void *arg)
{
	struct manifest_file *f = arg;

	f->document = number;
	return objects_decode(document, &(struct object_sink){ on_object, on_invalid, f });
}

/*
 * O_NONBLOCK, because it may be a fifo. Symbolic links are followed, because a ConfigMap volume consists of them.
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

int manifest_file_read(struct manifest_file *f, int directory, const char *name)
{
	_cleanup_free_ char *text = NULL;
	struct err err = { 0 };
	size_t size = 0;
	int ret = file_text(directory, name, &text, &size, &err);

	if (ret == 0)
		ret = documents_parse(text, size, "manifest", on_document, f, &err);
	if (ret == -ENOENT || ret == -ENOMEM || ret == 0)
		return ret;
	manifest_file_free(f);
	f->broken = true;
	manifest_file_note(f, &err);
	return 0;
}
