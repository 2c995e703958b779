#include "http/tenant_limits.h"

namespace realm::http {

runtime::RealmLimits runtime_limits(const tenants::Realm& realm, const runtime::RealmLimits& defaults) {
  runtime::RealmLimits limits = defaults;
  const tenants::Limits& set = realm.limits;
  limits.weight = realm.weight;
  limits.tenant_id = realm.id;
  limits.models_allowed = realm.models;
  if (set.concurrent_requests_max > 0) limits.concurrent_requests_max = static_cast<uint32_t>(set.concurrent_requests_max);
  if (set.kv_tokens_max > 0) limits.kv_tokens_max = static_cast<uint32_t>(set.kv_tokens_max);
  if (set.guest_memory_bytes_max > 0) limits.instance.memory_bytes_max = set.guest_memory_bytes_max;
  if (set.cpu_ms_max > 0) limits.instance.cpu_ms_max = static_cast<uint32_t>(set.cpu_ms_max);
  if (set.wall_ms_max > 0) limits.instance.wall_ms_max = static_cast<uint32_t>(set.wall_ms_max);
  limits.store_bytes_max = set.store_bytes_max > 0 ? set.store_bytes_max : tenants::store_bytes_default_max;
  if (set.body_bytes_max > 0) limits.request_bytes_max = set.body_bytes_max;
  return limits;
}

}  // namespace realm::http
