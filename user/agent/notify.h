/* SPDX-License-Identifier: BSD-2-Clause */
/* Notifies the service manager, as sd_notify(3) does: a datagram to $NOTIFY_SOCKET. */
#ifndef WARREN_AGENT_NOTIFY_H
#define WARREN_AGENT_NOTIFY_H

/* Lines "KEY=value", separated by newlines. Without a service manager it does nothing; failures are ignored. */
void notify(const char *text);

#endif
