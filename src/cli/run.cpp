// `realm run PROMPT`: the answer alone on stdout, everything else on stderr.
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>

#include "base/memory.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/engine_start.h"
#include "cli/terminal.h"

namespace realm::cli {
namespace {

bool write_out(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

int run_prompt(const RunOptions& options, Interrupts& interrupts) {
  auto runtime = start_runtime(options, 1, interrupts);
  if (!runtime) return report(runtime.error());
  runtime::RealmLimits limits;
  limits.keep_prefixes = false;
  auto realm = (*runtime)->create_realm("default", limits);
  if (!realm) return report(realm.error());

  std::vector<Message> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system});
  messages.push_back({"user", options.prompt});
  bool out_is_gone = false;
  const bool terminal = stdout_is_terminal();
  Answer answer([&](std::string_view text) {
    if (options.json) return true;
    out_is_gone = !(terminal ? write_out(printable(text)) : write_out(text));
    return !out_is_gone;
  });
  auto generation = (*runtime)->generate(*realm, {request_json(options, messages)}, answer);
  if (!generation) return report(generation.error());
  interrupts.on_interrupt([&generation] { generation->cancel(); });
  const auto& result = answer.wait();
  interrupts.on_interrupt(nullptr);
  if (out_is_gone) return exit_failure;
  if (!result) {
    if (!options.json && !answer.text().empty()) write_out("\n");
    return report(result.error());
  }
  if (options.json) {
    const boost::json::object object = {{"text", answer.text()},
                                        {"finish_reason", answer.finish_reason()},
                                        {"prompt_tokens", answer.stats().prompt_tokens},
                                        {"cached_tokens", answer.stats().cached_tokens},
                                        {"completion_tokens", answer.stats().completion_tokens},
                                        {"ttft_ms", answer.ttft_ms()},
                                        {"tokens_per_second", answer.tokens_per_second()},
                                        {"memory_bytes", process_memory().resident_bytes}};
    return write_out(boost::json::serialize(object) + "\n") ? 0 : exit_failure;
  }
  if (!write_out("\n")) return exit_failure;
  if (options.verbose || stderr_is_terminal()) {
    std::fprintf(stderr, "%u prompt tokens, %u tokens, %.0f ms to the first, %.1f tokens/s\n", answer.stats().prompt_tokens,
                 answer.stats().completion_tokens, answer.ttft_ms(), answer.tokens_per_second());
  }
  return 0;
}

}  // namespace realm::cli
