#include "tenants/sqlite_database.h"

#include <sys/stat.h>

namespace realm::tenants {
namespace {

constexpr int busy_timeout_ms = 5'000;  // another process writes

}  // namespace

Error database_error(sqlite3* connection) {
  const int status = sqlite3_errcode(connection) & 0xff;
  const char* name = sqlite3_db_filename(connection, "main");
  const std::string message = "database " + std::string(name == nullptr ? "" : name) + ": " + sqlite3_errmsg(connection);
  switch (status) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return {ErrorCode::corrupt, message + "; restore it from a backup or choose another --data"};
    case SQLITE_CONSTRAINT:
      return {ErrorCode::already_exists, message};
    case SQLITE_FULL:
      return {ErrorCode::resource_exhausted, message};
    case SQLITE_BUSY:
      return {ErrorCode::unavailable, message};
    default:
      return {ErrorCode::io, message};
  }
}

Statement::Statement(sqlite3* database, std::string_view sql) : database_(database) {
  status_ = sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &statement_, nullptr);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(std::string_view text) {
  if (status_ == SQLITE_OK) status_ = sqlite3_bind_text(statement_, next_++, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind_blob(std::string_view bytes) {
  if (status_ == SQLITE_OK) status_ = sqlite3_bind_blob64(statement_, next_++, bytes.data(), bytes.size(), SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind(int64_t number) {
  if (status_ == SQLITE_OK) status_ = sqlite3_bind_int64(statement_, next_++, number);
  return *this;
}

Statement& Statement::bind(double number) {
  if (status_ == SQLITE_OK) status_ = sqlite3_bind_double(statement_, next_++, number);
  return *this;
}

Statement& Statement::bind_null() {
  if (status_ == SQLITE_OK) status_ = sqlite3_bind_null(statement_, next_++);
  return *this;
}

bool Statement::step() {
  if (status_ != SQLITE_OK && status_ != SQLITE_ROW) return false;
  status_ = sqlite3_step(statement_);
  return status_ == SQLITE_ROW;
}

Result<void> Statement::finish() {
  while (step()) {
  }
  return error();
}

Result<void> Statement::error() const {
  if (status_ == SQLITE_OK || status_ == SQLITE_DONE || status_ == SQLITE_ROW) return {};
  return std::unexpected(database_error(database_));
}

std::string Statement::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return text == nullptr ? std::string() : std::string(text, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
}

std::string Statement::blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return bytes == nullptr ? std::string() : std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
}

Result<Database> Database::open(const std::filesystem::path& file) {
  const mode_t before = umask(0077);
  sqlite3* connection = nullptr;
  const int status = sqlite3_open_v2(file.c_str(), &connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  umask(before);
  Database database;
  database.connection_.reset(connection);
  if (status != SQLITE_OK) {
    return fail(ErrorCode::io, "database " + file.string() + ": " + (connection == nullptr ? "no memory" : sqlite3_errmsg(connection)) +
                                   "; give a folder that can be written with --data");
  }
  sqlite3_busy_timeout(connection, busy_timeout_ms);
  return database;
}

Result<void> Database::run(const char* sql) const {
  if (sqlite3_exec(native(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return std::unexpected(database_error(native()));
}

}  // namespace realm::tenants
