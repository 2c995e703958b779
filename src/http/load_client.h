// Load for a server with OpenAI's API, whoever made it: many streamed chats at once, and the times at which the pieces of their answers
// came. One thread, on libcurl.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace realm::http {

constexpr uint32_t load_streams_max = 4'096;
constexpr uint32_t load_chats_max = 100'000;
constexpr uint32_t load_words_max = 100'000;  // of a prompt; as many tokens of an answer

// Both ends included; each chat draws its own.
struct LoadRange {
  uint32_t least = 0;
  uint32_t most = 0;
};

struct LoadOptions {
  std::string url;                     // "http://127.0.0.1:8080"
  std::vector<std::string> keys = {};  // of the customers, among whom streams are dealt out, or arriving chats; empty: one without a key
  std::string model = {};              // empty: the server chooses
  uint32_t streams = 1;                // chats at the same time, 1 to load_streams_max
  uint32_t chats = 16;                 // in all, 1 to load_chats_max
  double chats_per_second = 0;  // chats arrive in a Poisson process, however fast they are answered; 0: a stream has one after the other
  double pause_s = 0;           // the mean of a stream's exponentially distributed pauses before each of its requests
  uint32_t turns = 1;           // requests of a chat, each with all that was said before it
  uint32_t system_words = 0;    // of a system prompt that all chats of a customer share
  LoadRange prompt_words = {48, 48};
  LoadRange answer_tokens = {64, 64};
  bool stop_at_end = false;      // else answers are as long as they may be
  std::string more_fields = {};  // members of a JSON object that each request has too: "{\"temperature\":0}"
  uint32_t seed = 1;
  int64_t timeout_s = 600;  // of a request
};

// What became of a request. Times are of base/clock.h.
struct LoadRecord {
  uint32_t customer = 0;
  uint32_t turn = 0;   // from 0
  int64_t due_ns = 0;  // when it should have been sent; later it is if all streams are taken
  int64_t ended_ns = 0;
  std::vector<int64_t> pieces_ns = {};  // when each piece of text came
  uint64_t prompt_tokens = 0;           // as the server counts
  uint64_t completion_tokens = 0;
  std::string failure = {};  // empty: complete
};

// Blocks until all chats are over; `stop`, when set, ends it early. A chat ends with its first request that fails.
// invalid_argument: what is out of range.
Result<std::vector<LoadRecord>> run_load(const LoadOptions& options, const std::atomic<bool>& stop);

}  // namespace realm::http
