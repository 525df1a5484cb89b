#include "harness.h"
int run_policy_tests(void) { return 0; }
