/* SPDX-License-Identifier: BSD-2-Clause */
/* Telling the service manager (the protocol of sd_notify(3): a datagram to $NOTIFY_SOCKET). */
#ifndef WARREN_AGENT_NOTIFY_H
#define WARREN_AGENT_NOTIFY_H

/* Lines "KEY=value", separated by newlines. Nobody there, or not listening, is no error. */
void notify(const char *text);

#endif
