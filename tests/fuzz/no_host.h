// Declares the host's functions in a native build, in which abi/realm_abi.h does not.
#pragma once

#include "abi/realm_abi.h"

#define REALM_DECLARE_NATIVELY(name, waits, result, parameters) result realm_##name parameters;
extern "C" {
REALM_ABI_FUNCTIONS(REALM_DECLARE_NATIVELY)
}
#undef REALM_DECLARE_NATIVELY
