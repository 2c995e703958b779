// `realm run` on a terminal without a prompt: a conversation.
//
// Each turn sends the whole history; the realm's cached prefix makes sure that only what is new is computed.
#include <editline/readline.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <charconv>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/engine_start.h"
#include "cli/terminal.h"

namespace realm::cli {
namespace {

constexpr int64_t second_interrupt_ns = 1'000'000'000;
constexpr const char* block_quote = "\"\"\"";

constexpr const char* help =
    "  /help              this\n"
    "  /clear             forget the conversation\n"
    "  /stats             tokens, times and memory so far\n"
    "  /set NAME VALUE    temperature, top_k, top_p, min_p, max_tokens, seed, system\n"
    "  /bye               leave (so does Ctrl-D)\n"
    "  \"\"\"                begins and ends a message of several lines\n"
    "  Ctrl-C             stops the answer; twice leaves\n";

class Chat {
 public:
  Chat(RunOptions options, runtime::Runtime& runtime, runtime::RealmHandle realm, Interrupts& interrupts)
      : options_(std::move(options)), runtime_(runtime), realm_(std::move(realm)), interrupts_(interrupts) {
    terminal_known_ = tcgetattr(STDIN_FILENO, &terminal_) == 0;
    clear();
  }

  int converse() {
    std::fprintf(stderr, "%s is ready. /help lists the commands.\n", runtime_.models().front().model.name.c_str());
    std::string text;
    while (!leaving_ && read_message(text)) {
      if (text.empty()) continue;
      if (text.front() == '/') {
        if (!command(text)) return 0;
      } else {
        turn(text);
      }
    }
    std::fprintf(stderr, "\n");
    return 0;
  }

 private:
  void clear() {
    history_.clear();
    if (!options_.system.empty()) history_.push_back({"system", options_.system});
  }

  // One line, or a block between """; false at the end of input.
  bool read_message(std::string& text) {
    // At a prompt Ctrl-C leaves. The line editor has the terminal in a mode of its own then.
    interrupts_.on_interrupt([this] {
      if (terminal_known_) tcsetattr(STDIN_FILENO, TCSANOW, &terminal_);
      _exit(exit_interrupted);
    });
    if (!read_line(">>> ", text)) return false;
    if (!text.starts_with(block_quote)) {
      if (!text.empty()) add_history(text.c_str());
      return true;
    }
    std::string block = text.substr(3);
    while (true) {
      if (const auto end = block.find(block_quote); end != std::string::npos) {
        text = block.substr(0, end);
        return true;
      }
      std::string line;
      if (!read_line("... ", line)) return false;
      block += "\n" + line;
    }
  }

  static bool read_line(const char* prompt, std::string& text) {
    char* line = readline(prompt);
    if (line == nullptr) return false;
    text = line;
    std::free(line);
    return true;
  }

  void turn(const std::string& text) {
    history_.push_back({"user", text});
    Spinner spinner("thinking");
    std::atomic<bool> first{true};
    Answer answer([&](std::string_view piece) {
      if (first.exchange(false)) spinner.stop();
      const std::string shown = printable(piece);
      return std::fwrite(shown.data(), 1, shown.size(), stdout) == shown.size() && std::fflush(stdout) == 0;
    });
    auto generation = runtime_.generate(realm_, {request_json(options_, history_)}, answer);
    if (!generation) {
      spinner.stop();
      history_.pop_back();
      report(generation.error());
      return;
    }
    std::atomic<int64_t> interrupted_ns{0};
    interrupts_.on_interrupt([&] {
      const int64_t now = monotonic_ns();
      if (interrupted_ns.load() != 0 && now - interrupted_ns.load() < second_interrupt_ns) leaving_ = true;
      interrupted_ns = now;
      generation->cancel();
    });
    const auto& result = answer.wait();
    interrupts_.on_interrupt(nullptr);
    spinner.stop();
    std::printf("\n");
    std::fflush(stdout);
    finish_turn(answer, result);
  }

  void finish_turn(const Answer& answer, const Result<void>& result) {
    if (!result && result.error().code != ErrorCode::cancelled) {
      history_.pop_back();
      report(result.error());
      return;
    }
    history_.push_back({"assistant", answer.text()});
    ++turns_;
    const auto& stats = answer.stats();
    prompt_tokens_ += stats.prompt_tokens;
    cached_tokens_ += stats.cached_tokens;
    completion_tokens_ += stats.completion_tokens;
    std::fprintf(stderr, "[%u tokens, %.1f tokens/s, %.0f ms to the first, %u of %u prompt tokens reused%s]\n", stats.completion_tokens,
                 answer.tokens_per_second(), answer.ttft_ms(), stats.cached_tokens, stats.prompt_tokens, result ? "" : ", stopped");
  }

  bool command(const std::string& text) {
    if (text == "/bye" || text == "/exit" || text == "/quit") return false;
    if (text == "/help" || text == "/?") {
      std::fprintf(stderr, "%s", help);
    } else if (text == "/clear") {
      clear();
      std::fprintf(stderr, "The conversation is forgotten.\n");
    } else if (text == "/stats") {
      show_stats();
    } else if (text.starts_with("/set ")) {
      set(text.substr(5));
    } else {
      std::fprintf(stderr, "Unknown command %s; /help lists them.\n", printable(text).c_str());
    }
    return true;
  }

  void show_stats() const {
    const auto memory = process_memory();
    const auto scheduler = runtime_.models().front().scheduler;
    std::fprintf(stderr,
                 "turns %llu, prompt tokens %llu (%llu reused), answer tokens %llu\n"
                 "process %.1f MiB resident, saved KV %.1f MiB, context %u tokens\n",
                 static_cast<unsigned long long>(turns_), static_cast<unsigned long long>(prompt_tokens_),
                 static_cast<unsigned long long>(cached_tokens_), static_cast<unsigned long long>(completion_tokens_),
                 static_cast<double>(memory.resident_bytes) / 1048576.0, static_cast<double>(scheduler.saved_bytes) / 1048576.0,
                 scheduler.context_tokens_max);
  }

  void set(const std::string& words) {
    const auto space = words.find(' ');
    const std::string name = words.substr(0, space);
    const std::string value = space == std::string::npos ? "" : words.substr(space + 1);
    if (name == "system") {
      options_.system = value;
      clear();
      std::fprintf(stderr, "system is set; the conversation begins anew.\n");
      return;
    }
    const bool known = set_number<double>("temperature", options_.temperature, name, value, 0, 100) ||
                       set_number<double>("top_p", options_.top_p, name, value, 1e-6, 1) ||
                       set_number<double>("min_p", options_.min_p, name, value, 0, 1) ||
                       set_number<int64_t>("top_k", options_.top_k, name, value, 0, 1 << 30) ||
                       set_number<int64_t>("max_tokens", options_.max_tokens, name, value, 1, 1 << 24) ||
                       set_number<int64_t>("seed", options_.seed, name, value, INT64_MIN, INT64_MAX);
    if (!known) std::fprintf(stderr, "There is no setting %s; /help lists them.\n", printable(name).c_str());
  }

  // False when the setting is another one; otherwise it is set, or the user has been told why not.
  template <class T>
  static bool set_number(std::string_view this_name, std::optional<T>& setting, std::string_view name, const std::string& value, T low,
                         T high) {
    if (name != this_name) return false;
    T number{};
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || !(number >= low && number <= high)) {
      std::ostringstream range;
      range << low << " to " << high;
      std::fprintf(stderr, "%s must be %s %s.\n", this_name.data(), std::is_integral_v<T> ? "a whole number," : "a number,",
                   range.str().c_str());
      return true;
    }
    setting = number;
    std::fprintf(stderr, "%s is %s.\n", this_name.data(), value.c_str());
    return true;
  }

  RunOptions options_;
  runtime::Runtime& runtime_;
  runtime::RealmHandle realm_;
  Interrupts& interrupts_;
  std::vector<Message> history_;
  termios terminal_{};
  bool terminal_known_ = false;
  std::atomic<bool> leaving_{false};
  uint64_t turns_ = 0;
  uint64_t prompt_tokens_ = 0;
  uint64_t cached_tokens_ = 0;
  uint64_t completion_tokens_ = 0;
};

}  // namespace

int run_chat(RunOptions options, Interrupts& interrupts) {
  // The line editor needs to know that characters may be several bytes.
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  auto runtime = start_runtime(options, 1, interrupts);
  if (!runtime) return report(runtime.error());
  auto realm = (*runtime)->create_realm("default", {});
  if (!realm) return report(realm.error());
  return Chat(std::move(options), **runtime, *realm, interrupts).converse();
}

}  // namespace realm::cli
