// Where the command line finds its files.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace realm::cli {

// A variable of the environment; empty when it is not set.
std::string environment(const char* name);

// ${XDG_CACHE_HOME:-~/.cache}/realm
std::filesystem::path cache_folder();

// Where a server keeps realms, keys and usage: $REALM_DATA, else $XDG_DATA_HOME/realm, else ~/.local/share/realm.
std::filesystem::path data_folder();

// The operator's Unix socket of the server that uses a data folder.
std::filesystem::path admin_socket(const std::filesystem::path& data);

// A model by path, or by name: what `realm pull` brought in, or in the cache's folder "models". An empty choice is $REALM_MODEL, else the
// bundled model. Fails with not_found, saying where it looked.
Result<std::filesystem::path> find_model(const std::string& choice);

// realm.wasm: the choice, else $REALM_PROGRAM, else beside this executable, else in ../share/realm.
Result<std::filesystem::path> find_program(const std::string& choice);

}  // namespace realm::cli
