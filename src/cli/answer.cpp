#include "cli/answer.h"

#include <boost/json.hpp>

namespace realm::cli {
namespace {

template <class T>
void set(boost::json::object& object, const char* name, const std::optional<T>& value) {
  if (value) object[name] = *value;
}

}  // namespace

std::string request_json(const RunOptions& options, const std::vector<Message>& messages) {
  boost::json::object request;
  if (options.raw) {
    request["prompt"] = messages.back().content;
  } else {
    boost::json::array list;
    for (const Message& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
    request["messages"] = std::move(list);
  }
  set(request, "max_tokens", options.max_tokens);
  set(request, "temperature", options.temperature);
  set(request, "top_k", options.top_k);
  set(request, "top_p", options.top_p);
  set(request, "min_p", options.min_p);
  set(request, "typical_p", options.typical_p);
  set(request, "repeat_penalty", options.repeat_penalty);
  set(request, "frequency_penalty", options.frequency_penalty);
  set(request, "presence_penalty", options.presence_penalty);
  set(request, "seed", options.seed);
  if (options.ignore_eos) request["ignore_eos"] = true;
  if (!options.stop.empty()) request["stop"] = boost::json::value_from(options.stop);
  if (!options.grammar.empty()) request["grammar"] = options.grammar;
  if (!options.regex.empty()) request["regex"] = options.regex;
  std::string text = boost::json::serialize(request);
  // As it came: it was not parsed here, and what it means is the program's business.
  if (!options.schema.empty()) text.insert(text.size() - 1, ",\"json_schema\":" + options.schema);
  return text;
}

runtime::EmitResult Answer::on_text(std::string_view utf8) {
  text_ += utf8;
  return !show_ || show_(utf8) ? runtime::EmitResult::accepted : runtime::EmitResult::gone;
}

runtime::EmitResult Answer::on_summary(std::string_view json) {
  boost::system::error_code error;
  const auto summary = boost::json::parse(json, error);
  if (!error && summary.is_object()) {
    if (const auto* reason = summary.as_object().if_contains("finish_reason"); reason != nullptr && reason->is_string()) {
      finish_reason_ = reason->as_string();
    }
  }
  return runtime::EmitResult::accepted;
}

void Answer::on_end(Result<void> result, const runtime::GenerationStats& stats) {
  std::lock_guard lock(mutex_);
  result_ = std::move(result);
  stats_ = stats;
  ended_ = true;
  changed_.notify_all();
}

const Result<void>& Answer::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ended_; });
  return result_;
}

double Answer::tokens_per_second() const noexcept {
  if (stats_.completion_tokens < 2 || stats_.decode_ns == 0) return 0;
  return (stats_.completion_tokens - 1) * 1e9 / static_cast<double>(stats_.decode_ns);
}

}  // namespace realm::cli
