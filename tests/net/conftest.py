# SPDX-License-Identifier: BSD-2-Clause
from fixtures import *  # noqa: F403 pytest finds the fixtures here
