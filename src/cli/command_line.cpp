#include "cli/command_line.h"

#include <signal.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <new>

#include "cli/admin_options.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/version.h"
#include "models/validate_child.h"
#include "sandbox/compile_child.h"

namespace realm::cli {
namespace {

constexpr uint64_t stdin_bytes_max = 4u << 20;
constexpr uint64_t form_bytes_max = 1u << 20;  // of a schema or grammar

// A number inside a range. What CLI11's own check lets through is NaN.
template <class T>
CLI::Validator between(T low, T high) {
  return CLI::Validator(
      [low, high](std::string& text) -> std::string {
        double value = 0;
        if (!CLI::detail::lexical_cast(text, value)) return "must be a number, not " + text;
        if (value >= static_cast<double>(low) && value <= static_cast<double>(high)) return {};
        std::ostringstream message;
        message << "must be " << low << " to " << high << ", not " << text;
        return message.str();
      },
      "");
}

void add_model_options(CLI::App& command, RunOptions& options) {
  command.add_option("-m,--model", options.model,
                     "GGUF file, or the name of one that was pulled (default: $REALM_MODEL, else the bundled one)");
  command.add_option("--backend", options.backend, "auto, cpu or cuda")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  command.add_option("--kernels", options.kernels, "own or ggml: whose code computes on the CPU (default: own)")
      ->check(CLI::IsMember({"own", "ggml"}));
  command
      .add_option("--kv-type", options.kv_type, "f16 or q8_0: how the KV cache holds numbers (default: f16; q8_0 takes half the memory)")
      ->check(CLI::IsMember({"f16", "q8_0"}));
  command.add_option("--program", options.program, "realm.wasm to use (default: the one beside this executable)");
  command.add_option("-c,--ctx", options.context_tokens, "longest conversation in tokens (default: what the model knows, at most 8192)")
      ->check(between(16, 1 << 24));
  command.add_option("-t,--threads", options.threads, "compute threads (default: physical cores)")->check(between(1, 512));
  command.add_flag("--json", options.json, "one JSON object on stdout");
}

// The text itself where it contains `mark`, else that of the file that it names.
CLI::Validator text_or_file(const char* mark) {
  return CLI::Validator(
      [mark](std::string& text) -> std::string {
        if (text.find(mark) != std::string::npos) return {};
        std::ifstream file(text, std::ios::binary);
        std::string content(form_bytes_max + 1, '\0');
        file.read(content.data(), static_cast<std::streamsize>(content.size()));
        if (!file.eof()) return text + (file.gcount() > 0 ? " has more than 1 MiB" : " cannot be read");
        content.resize(static_cast<size_t>(file.gcount()));
        text = std::move(content);
        return {};
      },
      "");
}

CLI::Validator valid_json() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        boost::system::error_code error;
        boost::json::parse_options options;
        options.max_depth = 256;
        (void)boost::json::parse(text, error, {}, options);
        return error ? "is not valid JSON" : "";
      },
      "");
}

void add_form_options(CLI::App& command, RunOptions& options) {
  CLI::Option* schema =
      command.add_option("-j,--schema,--json-schema", options.schema, "answer with JSON for this JSON Schema; a file, or the text");
  CLI::Option* grammar = command.add_option("--grammar", options.grammar, "answer with what this GBNF grammar allows; a file, or the text");
  CLI::Option* regex = command.add_option("--regex", options.regex, "answer with a text that this regular expression matches");
  schema->transform(text_or_file("{"))->check(valid_json())->excludes(grammar)->excludes(regex);
  grammar->transform(text_or_file("::="))->excludes(regex);
}

CLI::App* add_run(CLI::App& app, RunOptions& options) {
  CLI::App* run = app.add_subcommand("run", "answer a prompt, or chat");
  run->footer(
      "Examples:\n"
      "  realm run \"Why is the sky blue?\"\n"
      "  realm run                                   a chat, on a terminal\n"
      "  cat notes.txt | realm run \"Summarise this:\"\n"
      "  realm run --realms 16 \"Tell me a story\"     16 customers at once, in one batch");
  run->add_option("prompt", options.prompt, "what to ask; piped input is added to it");
  add_model_options(*run, options);
  run->add_option("-s,--system", options.system, "system message");
  run->add_option("-n,--max-tokens", options.max_tokens, "most tokens to answer with")->check(between(1, 1 << 24));
  run->add_option("--temp", options.temperature, "temperature; 0 is greedy (default 0.8)")->check(between(0.0, 100.0));
  run->add_option("--top-k", options.top_k, "the K likeliest tokens; 0 is off (default 40)")->check(between(0, 1 << 30));
  run->add_option("--top-p", options.top_p, "the likeliest tokens with this mass (default 0.95)")->check(between(1e-6, 1.0));
  run->add_option("--min-p", options.min_p, "at least this share of the likeliest (default 0.05)")->check(between(0.0, 1.0));
  run->add_option("--typical", options.typical_p, "locally typical sampling (default 1, off)")->check(between(1e-6, 1.0));
  run->add_option("--repeat-penalty", options.repeat_penalty, "default 1, off")->check(between(1e-6, 100.0));
  run->add_option("--frequency-penalty", options.frequency_penalty, "default 0, off")->check(between(-100.0, 100.0));
  run->add_option("--presence-penalty", options.presence_penalty, "default 0, off")->check(between(-100.0, 100.0));
  run->add_option("--seed", options.seed, "same seed, same answer (default: random)");
  run->add_option("--stop", options.stop, "end the answer at this text; may be repeated")->allow_extra_args(false);
  add_form_options(*run, options);
  run->add_option("--realms", options.realms, "so many realms answer at once, then a table")->check(between(1u, realms_max));
  run->add_flag("--raw", options.raw, "the prompt as it is, without the model's chat template");
  run->add_flag("--ignore-eos", options.ignore_eos, "go on past the end of the answer, to --max-tokens");
  run->add_flag("-v,--verbose", options.verbose, "counts and times on stderr");
  return run;
}

bool is_blank(const std::string& text) { return text.find_first_not_of(" \t\r\n") == std::string::npos; }

// Adds piped input to the prompt. False when there is too much of it.
bool read_piped_input(RunOptions& options) {
  std::string piped;
  char buffer[65'536];
  size_t count = 0;
  while ((count = std::fread(buffer, 1, sizeof buffer, stdin)) > 0) {
    piped.append(buffer, count);
    if (piped.size() > stdin_bytes_max) return false;
  }
  if (is_blank(piped)) return true;
  options.prompt += (options.prompt.empty() ? "" : "\n\n") + piped;
  return true;
}

int run(RunOptions& options, Interrupts& interrupts) {
  const bool wants_chat = options.prompt.empty() && stdin_is_terminal();
  if (!stdin_is_terminal() && !read_piped_input(options)) {
    return report({ErrorCode::invalid_argument, "standard input: more than 4 MiB; give a shorter text"});
  }
  if (wants_chat && options.realms == 0 && !options.json) return run_chat(options, interrupts);
  if (is_blank(options.prompt)) {
    std::fprintf(stderr, "realm: run: no prompt; give one as an argument or pipe it in (realm run --help)\n");
    return exit_usage;
  }
  return options.realms > 0 ? run_realms(options, interrupts) : run_prompt(options, interrupts);
}

// One line.
std::string usage_fault(const CLI::App& app, const CLI::ParseError& error) {
  std::string message = error.what();
  message.resize(std::min(message.size(), message.find('\n')));
  const auto left_over = app.remaining(true);
  if (message.find("subcommand is required") != std::string::npos && !left_over.empty()) return left_over.front() + ": no such command";
  return message;
}

int parse_and_run(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == realm::models::validation_argument)
    return realm::models::run_validation_child(std::atoi(argv[2]));
  if (argc == 3 && std::string_view(argv[1]) == realm::sandbox::compilation_argument)
    return realm::sandbox::run_compilation_child(std::atoi(argv[2]));
  CLI::App app("Realm: many customers' language model work on one machine, each sealed in WebAssembly.", "realm");
  app.set_version_flag("--version", std::string("realm ") + version);
  app.require_subcommand(1);
  app.footer("Try: realm run \"Why is the sky blue?\"");
  RunOptions options;
  const CLI::App* run_command = add_run(app, options);
  CLI::App* doctor = app.add_subcommand("doctor", "check this machine, the sandbox and the model");
  add_model_options(*doctor, options);
  bool attacks = false;
  doctor->add_flag("--attacks", attacks, "instead: four attacks by a customer's program, and how a neighbour fares meanwhile");
  CLI::App* server = app.add_subcommand("server", "serve many realms over HTTP: the OpenAI and Anthropic APIs");
  ServerSettings server_settings;
  add_model_options(*server, options);
  add_server_options(*server, server_settings);
  AdminSettings admin;
  const CLI::App* realms = add_realms(app, admin);
  const CLI::App* keys = add_keys(app, admin);
  const CLI::App* models = add_models(app, admin);
  const CLI::App* prefixes = add_prefixes(app, admin);
  const CLI::App* programs = add_programs(app, admin);
  const CLI::App* usage = add_usage(app, admin);
  PullSettings pull_settings;
  const CLI::App* pull = add_pull(app, pull_settings);
  TopSettings top_settings;
  const CLI::App* top = add_top(app, top_settings);
  BenchSettings bench_settings;
  const CLI::App* bench = add_bench(app, bench_settings);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "realm: %s (realm --help)\n", printable(usage_fault(app, error)).c_str());
    return exit_usage;
  }
  signal(SIGPIPE, SIG_IGN);
  if (realms->parsed()) return run_realms_command(admin);
  if (keys->parsed()) return run_keys_command(admin);
  if (models->parsed()) return run_models_command(admin);
  if (prefixes->parsed()) return run_prefixes_command(admin);
  if (programs->parsed()) return run_programs_command(admin);
  if (usage->parsed()) return run_usage_command(admin);
  Interrupts interrupts;
  if (pull->parsed()) return run_pull(pull_settings, interrupts);
  if (top->parsed()) return run_top(top_settings, interrupts);
  if (bench->parsed()) return run_bench(bench_settings, interrupts);
  if (server->parsed()) return run_server(options, server_settings, interrupts);
  if (run_command->parsed()) return run(options, interrupts);
  return attacks ? run_attacks(options, interrupts) : run_doctor(options, interrupts);
}

}  // namespace

int run_command_line(int argc, char** argv) noexcept {
  try {
    return parse_and_run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "realm: not enough memory; use a smaller model or a shorter --ctx\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "realm: %s\n", error.what());
  }
  return exit_failure;
}

}  // namespace realm::cli
