#include "cli/admin_options.h"

#include <CLI/CLI.hpp>
#include <cctype>

#include "tenants/types.h"

namespace realm::cli {
namespace {

void add_common(CLI::App& command, AdminSettings& settings) {
  command.add_option("--data", settings.data, "the server's data folder (default: $REALM_DATA, else the user's)");
  command.add_flag("--json", settings.json, "JSON on stdout");
}

CLI::App* add_action(CLI::App& parent, const char* name, const char* help, AdminSettings& settings) {
  CLI::App* action = parent.add_subcommand(name, help);
  action->callback([&settings, name] { settings.action = name; });
  add_common(*action, settings);
  return action;
}

std::string dashed(std::string name) {
  for (char& c : name) {
    if (c == '_') c = '-';
  }
  return "--" + name;
}

void add_realm_settings(CLI::App& action, RealmSettings& realm) {
  action.add_option("--weight", realm.weight, "share of the device against other realms, 0.001 to 1000 (default 1)");
  action.add_option("--models", realm.models, "models that it may use, separated by commas (default: all)")->delimiter(',');
  for (const tenants::LimitField& field : tenants::limit_fields) {
    action.add_option(dashed(field.name), realm.limits[field.name], field.help)->check(CLI::Range(uint64_t{0}, field.most));
  }
}

}  // namespace

CLI::App* add_realms(CLI::App& app, AdminSettings& settings) {
  CLI::App* realms = app.add_subcommand("realms", "customers: create, list, show, set, delete");
  realms->require_subcommand(1);
  add_action(*realms, "list", "all realms", settings);
  CLI::App* create = add_action(*realms, "create", "make a realm", settings);
  CLI::App* show = add_action(*realms, "show", "one realm", settings);
  CLI::App* set = add_action(*realms, "set", "change a realm; what is not named stays", settings);
  CLI::App* erase = add_action(*realms, "delete", "delete a realm and its keys; its usage stays", settings);
  for (CLI::App* action : {create, show, set, erase}) action->add_option("name", settings.realm.name, "name or id")->required();
  add_realm_settings(*create, settings.realm);
  add_realm_settings(*set, settings.realm);
  set->add_option("--name", settings.realm.new_name, "a new name");
  return realms;
}

CLI::App* add_keys(CLI::App& app, AdminSettings& settings) {
  CLI::App* keys = app.add_subcommand("keys", "API keys: create, list, revoke");
  keys->require_subcommand(1);
  CLI::App* create = add_action(*keys, "create", "make a key; it is shown once", settings);
  CLI::App* list = add_action(*keys, "list", "keys of a realm", settings);
  for (CLI::App* action : {create, list}) action->add_option("realm", settings.realm.name, "name or id; without one: the operators' keys");
  create->add_option("--label", settings.label, "what it is for");
  create->add_option("--scopes", settings.scopes, "inference, admin (default: inference; of operators: admin)")
      ->delimiter(',')
      ->check(CLI::IsMember({"inference", "admin"}));
  create->add_option("--expires-days", settings.expires_days, "valid for so many days (default: for ever)")->check(CLI::Range(1, 36'500));
  CLI::App* revoke = add_action(*keys, "revoke", "make a key useless, at once", settings);
  revoke->add_option("id", settings.key_id, "the key's id, or the key itself")->required();
  return keys;
}

CLI::App* add_models(CLI::App& app, AdminSettings& settings) {
  CLI::App* models = app.add_subcommand("models", "models: list, rm, pin, unpin, allow");
  models->require_subcommand(1);
  add_action(*models, "list", "what is published, and its state", settings);
  CLI::App* remove = add_action(*models, "rm", "delete a pulled model", settings);
  CLI::App* pin = add_action(*models, "pin", "keep a model in memory once it is loaded", settings);
  CLI::App* unpin = add_action(*models, "unpin", "let it be evicted again", settings);
  CLI::App* allow = add_action(*models, "allow", "name the realms that may use a model; none: everybody", settings);
  for (CLI::App* action : {remove, pin, unpin, allow}) action->add_option("model", settings.model, "its name")->required();
  allow->add_option("realms", settings.realms, "names or ids");
  return models;
}

CLI::App* add_prefixes(CLI::App& app, AdminSettings& settings) {
  CLI::App* prefixes = app.add_subcommand("prefixes", "beginnings of prompts that all realms share: list, add, rm");
  prefixes->require_subcommand(1);
  prefixes->footer(
      "Example:\n"
      "  realm prefixes add house-rules --model chat --file rules.txt\n"
      "The file has the prompt's text as the model's chat template renders it, from its first character on.");
  CLI::App* list = add_action(*prefixes, "list", "what is published for a model", settings);
  CLI::App* add = add_action(*prefixes, "add", "publish one; in place of one of the same name", settings);
  CLI::App* remove = add_action(*prefixes, "rm", "publish one no longer", settings);
  for (CLI::App* action : {add, remove}) action->add_option("name", settings.prefix, "its name")->required();
  for (CLI::App* action : {list, add, remove}) action->add_option("--model", settings.model, "for which model")->required();
  add->add_option("--file", settings.file, "its text")->required()->check(CLI::ExistingFile);
  return prefixes;
}

CLI::App* add_programs(CLI::App& app, AdminSettings& settings) {
  CLI::App* programs = app.add_subcommand("programs", "programs that realms bring: check, push, list, rm, run");
  programs->require_subcommand(1);
  programs->footer(
      "Examples:\n"
      "  realm programs check judge.wasm\n"
      "  realm programs push judge.wasm --realm acme --manifest judge.json    as the operator, through the server's socket\n"
      "  realm programs run judge --endpoint https://realm.example.com        as a customer, with $REALM_API_KEY");
  ProgramSettings& program = settings.program;
  CLI::App* check =
      add_action(*programs, "check", "what a server would say of a module: imports, exports, problems; needs no server", settings);
  CLI::App* push = add_action(*programs, "push", "upload a module; it is live when the command returns", settings);
  CLI::App* list = add_action(*programs, "list", "programs and their versions", settings);
  CLI::App* remove = add_action(*programs, "rm", "delete a program, or one version of it", settings);
  CLI::App* run = add_action(*programs, "run", "run a program on what is piped in, and print its answer", settings);
  for (CLI::App* action : {check, push}) action->add_option("file", program.file, "the .wasm module")->required();
  for (CLI::App* action : {remove, run}) {
    action->add_option("name", program.name, "its name")->required();
    action->add_option("--version", program.version, "SHA-256 of a version (default: the live one; rm: all)");
  }
  push->add_option("--name", program.name,
                   "what it is called (default: the file's name without .wasm); `default` answers all inference routes");
  push->add_option("--manifest", program.manifest, "JSON file: what it may use")->check(CLI::ExistingFile);
  run->add_option("--input", program.input, "file to send (default: standard input)")->check(CLI::ExistingFile);
  for (CLI::App* action : {push, list, remove, run}) {
    action->add_option("--realm", program.realm, "as the operator of the data folder's server: whose program; name or id");
    action->add_option("--endpoint", program.endpoint, "address of a server (default: $REALM_ENDPOINT, else the data folder's socket)");
    action->add_option("--api-key", program.api_key, "for --endpoint (default: $REALM_API_KEY)");
  }
  return programs;
}

CLI::App* add_usage(CLI::App& app, AdminSettings& settings) {
  CLI::App* usage = app.add_subcommand("usage", "what realms used, by model, key and UTC day");
  usage->add_option("realm", settings.realm.name, "name or id (default: all)");
  usage->add_option("--from", settings.from, "first day, such as 2026-11-01");
  usage->add_option("--to", settings.to, "last day");
  add_common(*usage, settings);
  return usage;
}

CLI::App* add_pull(CLI::App& app, PullSettings& settings) {
  CLI::App* pull = app.add_subcommand("pull", "bring a model into the store: from a file, an https URL or a Hugging Face repository");
  pull->footer(
      "Examples:\n"
      "  realm pull hf:OWNER/REPO/FILE.gguf        HF_TOKEN is sent along, HF_ENDPOINT names another hub\n"
      "  realm pull https://models.example.com/chat-Q4_K_M.gguf --sha256 HASH\n"
      "  realm pull ./chat.gguf --name chat");
  pull->add_option("source", settings.source, "path, https://... or hf:OWNER/REPO[@REVISION]/FILE")->required();
  pull->add_option("--name", settings.name, "what the model is called (default: the file's name without .gguf)");
  pull->add_option("--sha256", settings.sha256, "what the file must have, 64 hexadecimal digits")
      ->transform(CLI::Validator(
          [](std::string& text) -> std::string {
            for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
            const bool is_hash = text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
            return is_hash ? "" : "must be 64 hexadecimal digits";
          },
          ""));
  pull->add_flag("--allow-private", settings.allow_private, "addresses of private networks and of this machine too");
  pull->add_option("--data", settings.data, "the server's data folder (default: $REALM_DATA, else the user's)");
  pull->add_flag("--json", settings.json, "JSON on stdout");
  return pull;
}

CLI::App* add_top(CLI::App& app, TopSettings& settings) {
  CLI::App* top = app.add_subcommand("top", "what a running server does: models and realms, drawn anew all the time");
  top->add_option("--data", settings.data, "the server's data folder (default: $REALM_DATA, else the user's)");
  top->add_option("--interval-s", settings.interval_s, "seconds between two pictures (default 1)")->check(CLI::Range(0.1, 3'600.0));
  top->add_flag("--once", settings.once, "one picture; so it is too when the output is no terminal");
  top->add_flag("--json", settings.json, "counts as JSON, at once");
  return top;
}

namespace {

// "48", or "16:512" for what differs from chat to chat.
CLI::Option* add_range(CLI::App& app, const char* name, http::LoadRange& range, const char* help) {
  return app.add_option_function<std::string>(
      name,
      [&range, name](const std::string& text) {
        const size_t colon = text.find(':');
        const std::string least = text.substr(0, colon), most = colon == std::string::npos ? least : text.substr(colon + 1);
        if (!CLI::detail::lexical_cast(least, range.least) || !CLI::detail::lexical_cast(most, range.most) || range.least < 1 ||
            range.most < range.least || range.most > http::load_words_max) {
          throw CLI::ValidationError(
              name, "must be a number or two with a colon, 1 to " + std::to_string(http::load_words_max) + ", not " + text);
        }
      },
      help);
}

}  // namespace

CLI::App* add_bench(CLI::App& app, BenchSettings& settings) {
  CLI::App* bench = app.add_subcommand("bench", "load a server with OpenAI's API, and see how it answers: Realm's or any other");
  http::LoadOptions& load = settings.load;
  bench->add_option("--endpoint", load.url, "the server's address (default: $REALM_ENDPOINT, else http://127.0.0.1:8080)");
  bench->add_option("--keys", settings.keys_file, "file with an API key on each line, one a customer (default: $REALM_API_KEY)");
  bench->add_option("-m,--model", load.model, "the model's name (default: whichever the server takes)");
  bench->add_option("--streams", load.streams, "chats at the same time (default 1)")->check(CLI::Range(1u, http::load_streams_max));
  bench->add_option("--chats", load.chats, "in all (default 16)")->check(CLI::Range(1u, http::load_chats_max));
  bench
      ->add_option("--rate", load.chats_per_second,
                   "chats a second that arrive at random, while streams are free; 0: each follows the last")
      ->check(CLI::Range(0.0, 10'000.0));
  bench->add_option("--pause-s", load.pause_s, "how long a stream waits before a request, on average (default 0)")
      ->check(CLI::Range(0.0, 86'400.0));
  bench->add_option("--turns", load.turns, "requests of a chat, each with what was said before (default 1)")->check(CLI::Range(1, 1'000));
  bench->add_option("--system-words", load.system_words, "of a system prompt, a customer's own (default 0)")
      ->check(CLI::Range(0u, http::load_words_max));
  add_range(*bench, "--prompt-words", load.prompt_words, "of a question; \"16:512\" draws for each (default 48)");
  add_range(*bench, "-n,--max-tokens", load.answer_tokens, "of an answer, likewise (default 64)");
  bench->add_flag("--stop-at-end", load.stop_at_end, "answers may be shorter");
  bench->add_option("--fields", load.more_fields, "JSON object with further fields of each request");
  bench->add_option("--good-first-token-ms", settings.objective.first_token_ms, "of a good request, at most (default 1000)")
      ->check(CLI::Range(0.0, 1e9));
  bench->add_option("--good-token-ms", settings.objective.token_ms, "between its tokens, on average, at most (default 100)")
      ->check(CLI::Range(0.0, 1e9));
  bench->add_option("--timeout-s", load.timeout_s, "of a request (default 600)")->check(CLI::Range(1, 86'400));
  bench->add_option("--seed", load.seed, "the same seed, the same chats (default 1)");
  bench->add_flag("--json", settings.json, "one JSON object on stdout");
  return bench;
}

void add_server_options(CLI::App& server, ServerSettings& settings) {
  http::HttpLimits& limits = settings.limits;
  server.add_option("-p,--port", settings.port, "0: any that is free (default 8080)")->check(CLI::Range(0, 65'535));
  server.add_option("--host", settings.hosts, "addresses to listen on (default 127.0.0.1); may be repeated")->allow_extra_args(false);
  server.add_option("--data", settings.data, "folder of realms, keys and usage (default: $REALM_DATA, else the user's)");
  server.add_option("--max-realms", settings.realms_max, "realms that may be resident at once (default 16)")->check(CLI::Range(1, 100'000));
  server.add_option("--models", settings.model_folders, "folder whose *.gguf files are published; may be repeated")
      ->allow_extra_args(false);
  server.add_option("--memory-budget", settings.memory_mib_budget,
                    "MiB for weights, KV and compute buffers of models (default: 80 % of the memory)");
  server.add_option("--model-deadline-ms", settings.model_deadline_ms, "longest wait for a model to be loaded (default 120000)")
      ->check(CLI::Range(1, 3'600'000));
  server.add_flag("--anonymous", settings.anonymous, "serve requests without a key too, as the realm `default`");
  server.add_option("--tls-cert", settings.tls_certificate, "certificate chain, PEM")->check(CLI::ExistingFile);
  server.add_option("--tls-key", settings.tls_key, "its key, PEM")->check(CLI::ExistingFile);
  server.get_option("--tls-cert")->needs(server.get_option("--tls-key"));
  server.get_option("--tls-key")->needs(server.get_option("--tls-cert"));
  server.add_option("--parallel", settings.sequences_max, "sequences in the batch at once (default 256)")->check(CLI::Range(1, 256));
  server.add_option("--workers", settings.workers, "threads that run programs (default: cores, at most 8)")->check(CLI::Range(1, 64));
  server
      .add_option("--itl-target-ms", settings.inter_token_target_ms,
                  "prompts are cut so that a step beside answers stays within, or within two of its decodes (default 60)")
      ->check(CLI::Range(1, 60'000));
  server.add_option("--queue-deadline-ms", settings.queue_deadline_ms, "longest wait for a place in the batch; then 429 (default 60000)")
      ->check(CLI::Range(1, 3'600'000));
  server.add_option("--kv-mib", settings.kv_mib_max,
                    "KV cache of active sequences, of each model (default: a quarter of the memory budget, at most 4096)");
  server.add_option("--saved-kv-mib", settings.saved_kv_mib_max, "KV of idle sequences and cached prefixes (default 1024)");
  server.add_option("--cors-origin", settings.cors_origins, "web origins that may call the API, or * (default: none)")
      ->allow_extra_args(false);
  server.add_option("--admin-host", settings.admin_hosts, "further Host names for /admin/v1")->allow_extra_args(false);
  server.add_option("--max-connections", limits.connections_max, "default 8192")->check(CLI::Range(1, 1'000'000));
  server.add_option("--header-bytes-max", limits.header_bytes_max, "default 16384; more: 431")->check(CLI::Range(1'024, 1 << 20));
  server.add_option("--body-bytes-max", limits.body_bytes_max, "default 4194304; more: 413")->check(CLI::Range(1'024, 64 << 20));
  server.add_option("--uploads-max", limits.uploads_max, "programs being uploaded at once (default 16); more: 429")
      ->check(CLI::Range(1, 10'000));
  server.add_option("--uploads-of-realm-max", limits.uploads_of_realm_max, "of those, of one realm (default 2)")
      ->check(CLI::Range(1, 10'000));
  server.add_option("--head-timeout-ms", limits.head_timeout_ms, "default 10000; longer: 408")->check(CLI::Range(1, 3'600'000));
  server.add_option("--body-timeout-ms", limits.body_timeout_ms, "default 30000; longer: 408")->check(CLI::Range(1, 3'600'000));
  server.add_option("--idle-timeout-ms", limits.idle_timeout_ms, "idle connections are closed (default 75000)")
      ->check(CLI::Range(1, 3'600'000));
  server.add_option("--write-timeout-ms", limits.write_timeout_ms, "readers that take nothing are dropped (default 30000)")
      ->check(CLI::Range(1, 3'600'000));
  server.add_option("--drain-timeout-ms", limits.drain_timeout_ms, "after SIGTERM answers may go on for so long (default 30000)")
      ->check(CLI::Range(0, 3'600'000));
}

}  // namespace realm::cli
