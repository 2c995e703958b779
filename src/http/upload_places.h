// How many programs are being uploaded: their bodies are larger than other requests', and each costs a compilation.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace realm::http {

// Any thread.
class UploadPlaces {
 public:
  UploadPlaces(uint32_t uploads_max, uint32_t uploads_of_realm_max) : state_(std::make_shared<State>(uploads_max, uploads_of_realm_max)) {}

  // A place until it is dropped; null: all are taken. May outlive this.
  std::shared_ptr<void> take(const std::string& realm_id) {
    std::lock_guard lock(state_->mutex);
    uint32_t& of_realm = state_->realms[realm_id];
    if (state_->uploads >= state_->uploads_max || of_realm >= state_->uploads_of_realm_max) {
      if (of_realm == 0) state_->realms.erase(realm_id);
      return nullptr;
    }
    ++of_realm;
    ++state_->uploads;
    return std::shared_ptr<void>(state_.get(), [state = state_, realm_id](void*) {
      std::lock_guard held(state->mutex);
      --state->uploads;
      if (const auto found = state->realms.find(realm_id); --found->second == 0) state->realms.erase(found);
    });
  }

 private:
  struct State {
    State(uint32_t all, uint32_t of_realm) : uploads_max(all), uploads_of_realm_max(of_realm) {}
    const uint32_t uploads_max;
    const uint32_t uploads_of_realm_max;
    std::mutex mutex;
    uint32_t uploads = 0;  // guarded, likewise below
    std::map<std::string, uint32_t> realms;
  };
  std::shared_ptr<State> state_;
};

}  // namespace realm::http
