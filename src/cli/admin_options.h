// The operator's part of the command line.
#pragma once

#include <CLI/App.hpp>

#include "cli/admin.h"
#include "cli/server_options.h"

namespace realm::cli {

// Add the subcommands; when the line has been parsed, the action of the one that was given is set in `settings`.
CLI::App* add_realms(CLI::App& app, AdminSettings& settings);
CLI::App* add_keys(CLI::App& app, AdminSettings& settings);
CLI::App* add_models(CLI::App& app, AdminSettings& settings);
CLI::App* add_prefixes(CLI::App& app, AdminSettings& settings);
CLI::App* add_programs(CLI::App& app, AdminSettings& settings);
CLI::App* add_usage(CLI::App& app, AdminSettings& settings);

CLI::App* add_pull(CLI::App& app, PullSettings& settings);

CLI::App* add_top(CLI::App& app, TopSettings& settings);

CLI::App* add_bench(CLI::App& app, BenchSettings& settings);

// What `realm server` takes besides a model.
void add_server_options(CLI::App& server, ServerSettings& settings);

}  // namespace realm::cli
