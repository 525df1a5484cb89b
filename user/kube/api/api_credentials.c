/* SPDX-License-Identifier: BSD-2-Clause */
/* The client's credentials and the trusted CA: files that are replaced while the client runs. */
#include <string.h>
#include <sys/stat.h>

#include "api_internal.h"
#include "cleanup.h"
#include "file.h"

#define SECRET_MAX (1 << 20) /* a bundle of certificates */
#define TOKEN_MAX (32 << 10) /* API servers refuse longer header lines */

static bool unchanged(const struct api_secret *secret, const struct stat *st)
{
	return secret->text && secret->dev == st->st_dev && secret->inode == st->st_ino &&
	       secret->modified.tv_sec == st->st_mtim.tv_sec && secret->modified.tv_nsec == st->st_mtim.tv_nsec;
}

static void wipe(struct api_secret *secret)
{
	if (secret->text)
		explicit_bzero(secret->text, strlen(secret->text));
	free(secret->text);
	secret->text = NULL;
}

/* Kubelet replaces all files of a volume at once, by a symbolic link: stat() then returns another inode. */
static int refresh(struct api_secret *secret, size_t limit, struct err *err)
{
	char *text;
	struct stat st;
	int ret;

	if (!secret->file)
		return 0;
	if (stat(secret->file, &st) < 0)
		return secret->text ? 0 : err_errno(err, errno, "cannot open %s", secret->file);
	if (unchanged(secret, &st))
		return 0;
	ret = file_read(secret->file, limit, &text, &secret->size, err);
	if (ret < 0)
		return secret->text ? 0 : ret; /* the previous text may still be valid */
	wipe(secret);
	secret->text = text;
	secret->dev = st.st_dev;
	secret->inode = st.st_ino;
	secret->modified = st.st_mtim;
	return 0;
}

/* A token is one line of a header. */
static int refresh_token(struct api_secret *token, struct err *err)
{
	const char *where = token->file ?: "the token";
	int ret = refresh(token, TOKEN_MAX, err);

	if (ret < 0 || !token->text)
		return ret;
	token->size = strlen(token->text);
	while (token->size && strchr(" \t\r\n", token->text[token->size - 1]))
		token->text[--token->size] = '\0';
	for (const char *c = token->text; *c; c++) {
		if (*c <= ' ' || *c > '~')
			return err_set(err, EINVAL, "%s is not a token: it has a blank or a character that is not printable ASCII",
				       where);
	}
	return token->size ? 0 : err_set(err, EINVAL, "%s is empty", where);
}

static int secret_init(struct api_secret *secret, const char *file, const char *text)
{
	secret->file = text ? NULL : file;
	secret->text = text ? strdup(text) : NULL;
	return text && !secret->text ? -ENOMEM : 0;
}

int api_credentials_init(struct api_credentials *c, const struct api_config *config, struct err *err)
{
	if (secret_init(&c->ca, config->ca_file, config->ca) < 0 ||
	    secret_init(&c->token, config->token_file, config->token) < 0 ||
	    secret_init(&c->certificate, config->certificate_file, config->certificate) < 0 ||
	    secret_init(&c->key, config->key_file, config->key) < 0)
		return err_errno(err, ENOMEM, "cannot create the API client");
	return 0;
}

int api_credentials_refresh(struct api_credentials *c, struct err *err)
{
	int ret = refresh(&c->ca, SECRET_MAX, err);

	ret = ret < 0 ? ret : refresh_token(&c->token, err);
	ret = ret < 0 ? ret : refresh(&c->certificate, SECRET_MAX, err);
	return ret < 0 ? ret : refresh(&c->key, SECRET_MAX, err);
}

void api_secret_forget(struct api_secret *secret)
{
	secret->inode = 0;
	secret->modified = (struct timespec){ 0 };
}

void api_credentials_free(struct api_credentials *c)
{
	wipe(&c->ca);
	wipe(&c->token);
	wipe(&c->certificate);
	wipe(&c->key);
}
