// From what the operator set for a realm to what the runtime enforces.
#pragma once

#include "runtime/runtime.h"
#include "tenants/types.h"

namespace realm::http {

// A limit of 0 leaves the default.
runtime::RealmLimits runtime_limits(const tenants::Realm& realm, const runtime::RealmLimits& defaults);

}  // namespace realm::http
