// Storage in one SQLite file. WAL, synchronous=FULL: what was acknowledged survives kill -9 and power loss.
#pragma once

#include <filesystem>

#include "tenants/storage.h"

namespace realm::tenants {

// Makes the file (mode 0600) when it is missing and brings its schema up to date. Fails with corrupt for a file that is no such
// database, unsupported for one of a newer version, io otherwise. A second process may have it open.
Result<std::unique_ptr<Storage>> open_sqlite_storage(const std::filesystem::path& file);

}  // namespace realm::tenants
