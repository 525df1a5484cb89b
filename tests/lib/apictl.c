/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The API client by hand, for tests: commands on stdin, a line each; what happens as JSON on stdout, a line each.
 *
 *   apictl [kubeconfig=FILE] [server=URL[,NAME]]... [ca=FILE] [token=FILE] [cert=FILE] [key=FILE]
 *
 *   METHOD ID PATH [OPTION]...   timeout=S silence=S accept=TYPE body=TEXT  text (what data says is printed)
 *                                refuse=N (the N-th piece)  cancel=ID (at the first piece)  close (at the first piece)
 *                                then=PATH (at the end: GET)  end-close (at the end)
 *   cancel ID                    end a call
 *   after ID MS                  a timer
 *   servers URL[,NAME]...        others from now on
 *   quit                         closes and prints the peak of memory
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "api.h"
#include "array.h"
#include "cleanup.h"
#include "json.h"

struct job {
	char id[32], then[256], victim[32];
	struct api_call *call;
	bool text, closes, end_closes;
	unsigned refuse, pieces;
	size_t bytes;
	struct job *next;
};

static struct api *api;
static struct job *jobs;

static void say(json_t *line)
{
	char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

	puts(text ?: "{\"event\":\"no memory\"}");
	fflush(stdout);
	free(text);
	json_decref(line);
}

static void say_error(const char *what, const struct err *err)
{
	say(json_pack("{ss,si,ss,ss}", "event", what, "errno", err->num, "error", err->msg, "hint", err->hint));
}

static struct job *job_of(const char *id)
{
	for (struct job *j = jobs; j; j = j->next) {
		if (strcmp(j->id, id) == 0)
			return j;
	}
	return NULL;
}

static void cancel(const char *id)
{
	struct job *job = job_of(id);

	if (!job || !job->call)
		return;
	api_cancel(take_ptr(job->call));
	say(json_pack("{ss,ss}", "event", "cancelled", "id", id));
}

static void close_all(void)
{
	api_close(take_ptr(api));
	say(json_pack("{ss}", "event", "closed"));
}

static int on_data(void *arg, const void *data, size_t size)
{
	struct job *job = arg;

	if (!size) /* it begins */
		return 0;
	job->bytes += size;
	job->pieces++;
	if (job->text)
		say(json_pack("{ss,ss,ss%}", "event", "data", "id", job->id, "data", data, size));
	if (job->refuse == job->pieces)
		return -EBADMSG;
	if (job->pieces == 1 && job->victim[0])
		cancel(job->victim);
	if (job->pieces == 1 && job->closes)
		close_all();
	return 0;
}

static void start(struct job *job, const struct api_request *request);

static void on_done(void *arg, const struct api_result *r)
{
	struct job *job = arg;
	char path[sizeof(job->then)];

	job->call = NULL;
	say(json_pack("{ss,ss,si,ss,si,si,sI,si,ss,ss,ss}", "event", "done", "id", job->id, "status", r->status, "reason",
		      r->reason, "retry_after", (int)r->retry_after_s, "errno", r->err.num, "bytes",
		      (json_int_t)job->bytes, "pieces", (int)job->pieces, "error", r->err.msg, "hint", r->err.hint,
		      "server", api_server(api)));
	if (job->end_closes) {
		close_all();
	} else if (job->then[0]) {
		memcpy(path, job->then, sizeof(path));
		job->then[0] = '\0';
		start(job, &(struct api_request){ .method = "GET", .path = path });
	}
}

static void start(struct job *job, const struct api_request *request)
{
	struct api_request r = *request;
	struct err err = { 0 };

	r.data = on_data;
	r.done = on_done;
	r.arg = job;
	job->bytes = job->pieces = 0;
	if (api_start(api, &r, &job->call, &err) < 0)
		say_error("refused", &err);
}

static bool option(const char *word, const char *name, const char **value)
{
	size_t len = strlen(name);

	if (strncmp(word, name, len) != 0 || word[len] != '=')
		return false;
	*value = word + len + 1;
	return true;
}

/* Kept until the end. */
static struct job *make_job(const char *id)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job || !id)
		abort();
	snprintf(job->id, sizeof(job->id), "%s", id);
	job->next = jobs;
	jobs = job;
	return job;
}

static void request(const char *method, char *rest)
{
	struct api_request r = { .method = method };
	struct job *job = make_job(strtok(rest, " "));
	const char *value;

	r.path = strtok(NULL, " ");
	if (!r.path)
		abort();
	for (char *word; (word = strtok(NULL, " "));) {
		if (option(word, "timeout", &value))
			r.timeout_s = (unsigned)atoi(value);
		else if (option(word, "silence", &value))
			r.idle_timeout_s = (unsigned)atoi(value);
		else if (option(word, "accept", &value))
			r.accept = value;
		else if (option(word, "body", &value))
			r.body = value, r.body_size = strlen(value);
		else if (option(word, "refuse", &value))
			job->refuse = (unsigned)atoi(value);
		else if (option(word, "cancel", &value))
			snprintf(job->victim, sizeof(job->victim), "%s", value);
		else if (option(word, "then", &value))
			snprintf(job->then, sizeof(job->then), "%s", value);
		else if (strcmp(word, "text") == 0)
			job->text = true;
		else if (strcmp(word, "close") == 0)
			job->closes = true;
		else if (strcmp(word, "end-close") == 0)
			job->end_closes = true;
		else
			abort();
	}
	start(job, &r);
}

static void on_time(void *arg)
{
	const struct job *job = arg;

	say(json_pack("{ss,ss}", "event", "time", "id", job->id));
}

static int add_server(struct api_config *config, char *text, struct err *err)
{
	char *comma = strchr(text, ',');

	if (comma)
		*comma = '\0';
	return api_config_add_server(config, text, comma ? comma + 1 : NULL, err);
}

static void servers(char *rest)
{
	struct api_config config = { 0 };
	struct err err = { 0 };
	int ret = 0;

	for (char *word = strtok(rest, " "); ret == 0 && word; word = strtok(NULL, " "))
		ret = add_server(&config, word, &err);
	ret = ret < 0 ? ret : api_use_servers(api, &config, &err);
	if (ret < 0)
		say_error("refused", &err);
	api_config_free(&config);
}

/* False: the end. */
static bool command(char *line)
{
	char *rest = strchr(line, ' ');
	struct err err = { 0 };

	if (rest)
		*rest++ = '\0';
	if (strcmp(line, "quit") == 0) {
		return false;
	} else if (strcmp(line, "cancel") == 0) {
		cancel(rest);
	} else if (strcmp(line, "servers") == 0) {
		servers(rest);
	} else if (strcmp(line, "after") == 0) {
		char *id = strtok(rest, " "), *ms = strtok(NULL, " ");

		if (api_after(api, (unsigned)atoi(ms), on_time, make_job(id), NULL, &err) < 0)
			say_error("refused", &err);
	} else {
		request(line, rest);
	}
	return true;
}

/* A line at a time, without what stdio would keep back from poll(). */
static bool read_commands(void)
{
	static char text[8192];
	static size_t used;
	ssize_t n = read(STDIN_FILENO, text + used, sizeof(text) - 1 - used);

	if (n <= 0)
		return false;
	used += (size_t)n;
	text[used] = '\0';
	for (char *end; (end = strchr(text, '\n'));) {
		*end = '\0';
		if (!command(text))
			return false;
		used -= (size_t)(end + 1 - text);
		memmove(text, end + 1, used + 1);
	}
	return true;
}

static int configure(struct api_config *config, char **argv, struct err *err)
{
	int ret = 0;

	for (; *argv && ret == 0; argv++) {
		const char *value;

		if (option(*argv, "kubeconfig", &value))
			ret = api_config_kubeconfig(config, value, err);
		else if (option(*argv, "server", &value))
			ret = add_server(config, (char *)value, err);
		else if (option(*argv, "ca", &value))
			config->ca_file = strdup(value);
		else if (option(*argv, "token", &value))
			config->token_file = strdup(value);
		else if (option(*argv, "cert", &value))
			config->certificate_file = strdup(value);
		else if (option(*argv, "key", &value))
			config->key_file = strdup(value);
		else if (strcmp(*argv, "in-cluster") == 0)
			ret = api_config_in_cluster(config, err);
		else
			ret = err_set(err, EINVAL, "%s?", *argv);
	}
	return ret;
}

/* Besides: how often it woke up, which an idle client does not. */
static int serve(void)
{
	struct pollfd fds[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .events = POLLIN } };
	struct rusage usage;
	unsigned turns = 0;

	while (api) {
		fds[1].fd = api_fd(api);
		if (poll(fds, 2, -1) < 0)
			continue; /* a signal */
		turns += fds[1].revents != 0;
		if (fds[1].revents)
			api_run(api);
		if (api && fds[0].revents && !read_commands())
			break;
	}
	if (api)
		close_all();
	getrusage(RUSAGE_SELF, &usage);
	say(json_pack("{ss,sI,si,sI}", "event", "end", "maxrss_kb", (json_int_t)usage.ru_maxrss, "turns", (int)turns, "cpu_us",
		      ((json_int_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
			      usage.ru_stime.tv_usec));
	return 0;
}

int main(int argc, char **argv)
{
	struct api_config config = { 0 };
	struct err err = { 0 };
	int ret = configure(&config, argv + 1, &err);

	ret = ret < 0 ? ret : api_open(&api, &config, &err);
	api_config_free(&config);
	if (ret < 0) {
		say_error("open", &err);
		return 1;
	}
	say(json_pack("{ss,ss}", "event", "open", "server", api_server(api)));
	ret = serve();
	while (jobs) {
		struct job *next = jobs->next;

		free(jobs);
		jobs = next;
	}
	return ret;
}
