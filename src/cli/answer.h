// One request as the command line follows it.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "cli/run_options.h"
#include "runtime/runtime.h"

namespace realm::cli {

struct Message {
  std::string role;
  std::string content;
};

// The request of realm.wasm for these messages, or for the bare prompt with RunOptions::raw.
std::string request_json(const RunOptions& options, const std::vector<Message>& messages);

// Collects an answer, and shows it as it comes.
class Answer : public runtime::GenerationListener {
 public:
  // `show` gets each piece on a worker thread; false means that nobody can see it any more, and ends the request.
  explicit Answer(std::function<bool(std::string_view)> show = {}) : show_(std::move(show)) {}

  runtime::EmitResult on_text(std::string_view utf8) override;
  runtime::EmitResult on_summary(std::string_view json) override;
  void on_end(Result<void> result, const runtime::GenerationStats& stats) override;

  // Waits for on_end.
  const Result<void>& wait();

  // After wait().
  const std::string& text() const noexcept { return text_; }
  const std::string& finish_reason() const noexcept { return finish_reason_; }
  const runtime::GenerationStats& stats() const noexcept { return stats_; }
  double tokens_per_second() const noexcept;  // of decoding, the first token not counted
  double ttft_ms() const noexcept { return static_cast<double>(stats_.time_to_first_token_ns) / 1e6; }

 private:
  std::function<bool(std::string_view)> show_;
  std::string text_;
  std::string finish_reason_ = "cancelled";
  runtime::GenerationStats stats_;
  Result<void> result_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;  // guarded
};

}  // namespace realm::cli
