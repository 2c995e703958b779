// Realms, keys and usage as the operator knows them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace realm::tenants {

// What a realm may use. 0 is "no limit" for rates and budgets, and "the server's default" for the rest.
struct Limits {
  uint64_t requests_per_minute = 0;
  uint64_t tokens_per_minute = 0;  // prompt and completion
  uint64_t tokens_per_day = 0;     // budgets: refused until the next UTC day
  uint64_t tokens_per_month = 0;   // or month
  uint64_t concurrent_requests_max = 0;
  uint64_t kv_tokens_max = 0;
  uint64_t guest_memory_bytes_max = 0;
  uint64_t cpu_ms_max = 0;   // of the program, a request
  uint64_t wall_ms_max = 0;  // a request
  uint64_t body_bytes_max = 0;
  uint64_t program_bytes_max = 0;         // of one uploaded module
  uint64_t programs_max = 0;              // uploaded under different names
  uint64_t program_stored_bytes_max = 0;  // of all versions of all of them
  uint64_t store_bytes_max = 0;           // of what its programs keep, as value_bytes() counts

  bool operator==(const Limits&) const = default;
};

// Every limit by its name, for the database, the admin API and the command line.
struct LimitField {
  const char* name;
  uint64_t Limits::*member;
  uint64_t most;
  const char* help;
};

constexpr LimitField limit_fields[] = {
    {"requests_per_minute", &Limits::requests_per_minute, 10'000'000, "requests a minute; 0: no limit"},
    {"tokens_per_minute", &Limits::tokens_per_minute, 1'000'000'000'000, "prompt and completion tokens a minute; 0: no limit"},
    {"tokens_per_day", &Limits::tokens_per_day, 1'000'000'000'000'000, "token budget of a UTC day; 0: none"},
    {"tokens_per_month", &Limits::tokens_per_month, 1'000'000'000'000'000, "token budget of a UTC month; 0: none"},
    {"concurrent_requests_max", &Limits::concurrent_requests_max, 10'000, "requests at once; 0: the server's default"},
    {"kv_tokens_max", &Limits::kv_tokens_max, 1'000'000'000, "KV tokens of its live sequences; 0: what there is"},
    {"guest_memory_bytes_max", &Limits::guest_memory_bytes_max, 4'294'967'296, "memory of a request's program; 0: the server's default"},
    {"cpu_ms_max", &Limits::cpu_ms_max, 3'600'000, "CPU time of a request's program; 0: the server's default"},
    {"wall_ms_max", &Limits::wall_ms_max, 86'400'000, "time of a request; 0: the server's default"},
    {"body_bytes_max", &Limits::body_bytes_max, 67'108'864, "size of a request; 0: the server's default"},
    {"program_bytes_max", &Limits::program_bytes_max, 67'108'864, "size of an uploaded program; 0: 16 MiB"},
    {"programs_max", &Limits::programs_max, 1'000, "uploaded programs; 0: 16"},
    {"program_stored_bytes_max", &Limits::program_stored_bytes_max, 68'719'476'736, "all versions of them together; 0: 256 MiB"},
    {"store_bytes_max", &Limits::store_bytes_max, 1'073'741'824, "what its programs keep in the store; 0: 1 MiB"},
};

// What 0 means for programs.
constexpr uint64_t program_bytes_default_max = 16ull << 20;
constexpr uint64_t programs_default_max = 16;
constexpr uint64_t program_stored_bytes_default_max = 256ull << 20;
constexpr uint64_t store_bytes_default_max = 1ull << 20;

// What a value in a realm's store counts: itself, its key, and what keeping it costs.
constexpr uint64_t value_overhead_bytes = 64;

struct Realm {
  std::string id;                   // "rl_..."
  std::string name;                 // 1 to 128 of [A-Za-z0-9._-], unique
  double weight = 1;                // 0.001 to 1,000: share of the device against other realms
  std::vector<std::string> models;  // allowed ones; empty: all that it may see
  Limits limits;
  int64_t created_unix_s = 0;
  uint64_t revision = 0;  // rises with every change
};

enum Scope : uint32_t { scope_inference = 1, scope_admin = 2 };

struct Key {
  std::string id;        // public, part of the key's text
  std::string realm_id;  // empty: an operator's key, which belongs to none
  uint32_t scopes = scope_inference;
  std::string label;  // at most 128 bytes
  int64_t created_unix_s = 0;
  int64_t expires_unix_s = 0;    // 0: never
  int64_t last_used_unix_s = 0;  // 0: not yet; written in batches
  int64_t revoked_unix_s = 0;    // 0: valid
};

// Counts of one realm, model, key and UTC day.
struct Usage {
  std::string realm_id;
  std::string realm;  // its name
  std::string model;
  std::string key_id;  // empty: without a key
  int64_t day = 0;     // days since 1970-01-01
  uint64_t requests = 0;
  uint64_t errors = 0;
  uint64_t prompt_tokens = 0;
  uint64_t cached_tokens = 0;
  uint64_t completion_tokens = 0;
  uint64_t guest_cpu_us = 0;
  uint64_t kv_token_ms = 0;  // KV tokens held, times how long

  void add(const Usage& other) {
    requests += other.requests;
    errors += other.errors;
    prompt_tokens += other.prompt_tokens;
    cached_tokens += other.cached_tokens;
    completion_tokens += other.completion_tokens;
    guest_cpu_us += other.guest_cpu_us;
    kv_token_ms += other.kv_token_ms;
  }
};

// One module that a realm uploaded under a name.
struct ProgramVersion {
  std::string sha256;
  uint64_t bytes = 0;
  std::string manifest;  // JSON; empty: none
  int64_t created_unix_s = 0;
  uint64_t revision = 0;  // rises with every upload to the realm
};

struct StoredProgram {
  std::string realm_id;
  std::string name;                      // 1 to 128 of [A-Za-z0-9._-]
  std::vector<ProgramVersion> versions;  // by revision; the last one is live
  const ProgramVersion& live() const { return versions.back(); }
};

}  // namespace realm::tenants
