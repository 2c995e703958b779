// The functions of the program ABI: the realm's store.
#include <utility>

#include "runtime/abi_answer.h"
#include "runtime/generation.h"

namespace realm::runtime {

// Asks once, then waits for the answer. Nullopt: it is not there yet.
std::optional<Result<std::string>> Generation::store_answer(sandbox::HostCall& call, const std::function<void(StoreDone)>& ask) {
  if (!storing_) {
    storing_ = std::make_shared<StoreCall>();
    ask([storing = storing_, waker = call.waker()](Result<std::string> result) {
      {
        std::lock_guard lock(storing->mutex);
        storing->result = std::move(result);
      }
      waker.wake();
    });
  }
  std::optional<Result<std::string>> result;
  {
    std::lock_guard lock(storing_->mutex);
    if (!storing_->result) return std::nullopt;
    result = std::move(storing_->result);
  }
  storing_.reset();
  if (!*result) host_error_ = result->error();
  return result;
}

std::optional<int32_t> Generation::store_get(sandbox::HostCall& call, std::span<const uint8_t> key, std::span<uint8_t> value) {
  if (key.empty() || key.size() > store_key_bytes_max) return REALM_INVALID_ARGUMENT;
  if (store_ == nullptr || realm_->limits.tenant_id.empty()) return REALM_UNSUPPORTED;
  if (allowance_.store_bytes(realm_->limits.store_bytes_max) == 0) return REALM_LIMIT;
  const auto found =
      store_answer(call, [&](StoreDone done) { store_->get(realm_->limits.tenant_id, std::string(as_text(key)), std::move(done)); });
  if (!found) return std::nullopt;
  return *found ? fill(value, **found) : status_of(found->error());
}

std::optional<int32_t> Generation::store_put(sandbox::HostCall& call, std::span<const uint8_t> key, std::span<const uint8_t> value) {
  if (key.empty() || key.size() > store_key_bytes_max) return REALM_INVALID_ARGUMENT;
  if (store_ == nullptr || realm_->limits.tenant_id.empty()) return REALM_UNSUPPORTED;
  const uint64_t bytes_max = allowance_.store_bytes(realm_->limits.store_bytes_max);
  if (bytes_max == 0 || value.size() > store_value_bytes_max) return REALM_LIMIT;
  if (!storing_ && store_puts_++ >= store_puts_max) return REALM_LIMIT;
  const auto put = store_answer(call, [&](StoreDone done) {
    store_->put(realm_->limits.tenant_id, std::string(as_text(key)), std::string(as_text(value)), bytes_max,
                [done = std::move(done)](Result<void> result) {
                  done(result ? Result<std::string>(std::string()) : std::unexpected(std::move(result.error())));
                });
  });
  if (!put) return std::nullopt;
  return *put ? static_cast<int32_t>(REALM_OK) : status_of(put->error());
}

std::optional<int32_t> Generation::store_list(sandbox::HostCall& call, std::span<const uint8_t> prefix, std::span<uint8_t> keys) {
  if (prefix.size() > store_key_bytes_max) return REALM_INVALID_ARGUMENT;
  if (store_ == nullptr || realm_->limits.tenant_id.empty()) return REALM_UNSUPPORTED;
  if (allowance_.store_bytes(realm_->limits.store_bytes_max) == 0) return REALM_LIMIT;
  const auto found = store_answer(call, [&](StoreDone done) {
    store_->list(realm_->limits.tenant_id, std::string(as_text(prefix)), [done = std::move(done)](Result<std::vector<std::string>> result) {
      if (!result) return done(std::unexpected(std::move(result.error())));
      std::string packed;
      for (const std::string& key : *result) {
        packed += static_cast<char>(key.size());
        packed += key;
      }
      done(std::move(packed));
    });
  });
  if (!found) return std::nullopt;
  return *found ? fill(keys, **found) : status_of(found->error());
}

}  // namespace realm::runtime
