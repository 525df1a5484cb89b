/* SPDX-License-Identifier: BSD-2-Clause */
/* How a call has ended: libcurl's codes, HTTP's status and Kubernetes' Status objects in one form. */
#include <errno.h>
#include <string.h>

#include "api_internal.h"
#include "array.h"
#include "protobuf.h"
#include "str.h"

#define RETRY_AFTER_MAX 3600

static const struct {
	CURLcode code;
	int num;
} codes[] = {
	{ CURLE_COULDNT_RESOLVE_HOST, EHOSTUNREACH },
	{ CURLE_COULDNT_CONNECT, ECONNREFUSED },
	{ CURLE_OPERATION_TIMEDOUT, ETIMEDOUT },
	{ CURLE_OUT_OF_MEMORY, ENOMEM },
	{ CURLE_PEER_FAILED_VERIFICATION, EKEYREJECTED },
	{ CURLE_SSL_CACERT_BADFILE, EKEYREJECTED },
	{ CURLE_SSL_CERTPROBLEM, EKEYREJECTED },
	{ CURLE_SSL_CONNECT_ERROR, EPROTO },
	{ CURLE_GOT_NOTHING, ECONNRESET },
	{ CURLE_RECV_ERROR, ECONNRESET },
	{ CURLE_SEND_ERROR, ECONNRESET },
	{ CURLE_PARTIAL_FILE, ECONNRESET },
	{ CURLE_HTTP2, ECONNRESET },
	{ CURLE_HTTP2_STREAM, ECONNRESET },
};

static const struct {
	int status, num;
	const char *text;
} statuses[] = {
	{ 400, EINVAL, "Bad Request" },
	{ 401, EACCES, "Unauthorized" },
	{ 403, EPERM, "Forbidden" },
	{ 404, ENOENT, "Not Found" },
	{ 406, EPROTONOSUPPORT, "Not Acceptable" },
	{ 409, EEXIST, "Conflict" },
	{ 410, ESTALE, "Gone" },
	{ 413, EMSGSIZE, "Request Entity Too Large" },
	{ 415, EPROTONOSUPPORT, "Unsupported Media Type" },
	{ 422, EINVAL, "Unprocessable Entity" },
	{ 429, EAGAIN, "Too Many Requests" },
	{ 503, EAGAIN, "Service Unavailable" },
};

static int number_of(CURLcode code)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		if (codes[i].code == code)
			return codes[i].num;
	}
	return EIO;
}

/* No response, or an incomplete one. */
static void broken(struct api_call *call, CURLcode code, const char *why, struct err *err)
{
	if (call->refused)
		err_set(err, call->refused < 0 ? -call->refused : call->refused, "the response cannot be used");
	else if (!call->connected && call->failures)
		err_set(err, number_of(code), "no API server can be reached: %s", call->failures);
	else
		err_set(err, number_of(code), "%s: %s", call->url, why);
	err_wrap(err, "%s %s", call->method, call->path);
	str_printable(err->msg);
	if (number_of(code) == EKEYREJECTED)
		err_hint(err, "check that the configured CA has signed the server's certificate and that it is valid for this "
			      "name");
}

/* In JSON or protobuf, as the request accepted. */
static json_t *parse_status(const char *problem, size_t size)
{
	json_t *status = NULL;

	if (!problem)
		return NULL;
	if (!protobuf_is_object(problem, size))
		return json_loadb(problem, size, JSON_REJECT_DUPLICATES, NULL);
	return protobuf_object(problem, size, &status, NULL) == 0 ? status : NULL;
}

/* The members of a Status object; empty if the body is none. */
static json_t *read_status(struct api_call *call, struct api_result *result, const char **message)
{
	json_t *status = parse_status(call->problem, call->problem_size);
	json_int_t seconds = json_integer_value(json_object_get(json_object_get(status, "details"), "retryAfterSeconds"));

	*message = json_string_value(json_object_get(status, "message")) ?: "";
	result->reason = json_string_value(json_object_get(status, "reason")) ?: "";
	if (seconds > 0)
		result->retry_after_s = (unsigned)(seconds < RETRY_AFTER_MAX ? seconds : RETRY_AFTER_MAX);
	return status;
}

static void explain(struct api_call *call, const char *message, struct api_result *result)
{
	const char *text = "";
	int num = EREMOTEIO;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		if (statuses[i].status == result->status) {
			num = statuses[i].num;
			text = statuses[i].text;
		}
	}
	err_set(&result->err, num, "%s %s: %s: %d%s%s%s%s", call->method, call->path, call->url, result->status,
		*text ? " " : "", text, *message ? ": " : "", message);
	str_printable(result->err.msg);
	if (result->status == 401)
		err_hint(&result->err, "the server does not accept the token or the certificate: renew it");
	if (result->status == 403)
		err_hint(&result->err, "check the account's permissions: kubectl auth can-i --list --as=...");
}

json_t *api_answer(struct api_call *call, CURLcode code, const char *why, struct api_result *result)
{
	curl_off_t seconds = 0;
	const char *message;
	json_t *object;
	long status = 0;

	if (code != CURLE_OK) {
		broken(call, code, why, &result->err);
		return NULL;
	}
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &seconds);
	result->status = (int)status;
	result->retry_after_s = (unsigned)(seconds < 0 ? 0 : seconds < RETRY_AFTER_MAX ? seconds : RETRY_AFTER_MAX);
	if (status >= 200 && status < 300)
		return NULL;
	if (status == 401)
		api_secret_forget(&call->api->credentials.token);
	object = read_status(call, result, &message);
	explain(call, message, result);
	return object;
}
