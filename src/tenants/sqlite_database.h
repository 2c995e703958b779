// SQLite's C interface in C++: a connection, a prepared statement. Not thread-safe.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace realm::tenants {

// One prepared statement, for one use: bind in order, then step until there is no more row.
class Statement {
 public:
  Statement(sqlite3* database, std::string_view sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(std::string_view text);  // the text must live until the last step
  Statement& bind(int64_t number);
  Statement& bind(uint64_t number) { return bind(static_cast<int64_t>(number)); }
  Statement& bind(double number);
  Statement& bind_blob(std::string_view bytes);  // likewise
  Statement& bind_null();

  bool step();            // true: there is a row
  Result<void> finish();  // steps to the end; the first error of all the calls so far
  Result<void> error() const;

  // Of the row; columns from 0.
  std::string text(int column) const;
  std::string blob(int column) const;
  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  uint64_t natural(int column) const { return static_cast<uint64_t>(integer(column)); }
  double real(int column) const { return sqlite3_column_double(statement_, column); }

 private:
  sqlite3* const database_;
  sqlite3_stmt* statement_ = nullptr;
  int next_ = 1;
  int status_ = SQLITE_OK;
};

class Database {
 public:
  static Result<Database> open(const std::filesystem::path& file);
  sqlite3* native() const { return connection_.get(); }
  Result<void> run(const char* sql) const;

  // All or nothing: `work` returns Result<void>.
  template <class Work>
  Result<void> transaction(Work work) const {
    if (auto begun = run("BEGIN IMMEDIATE"); !begun) return begun;
    Result<void> done = work();
    if (done) done = run("COMMIT");
    if (!done && sqlite3_get_autocommit(native()) == 0) static_cast<void>(run("ROLLBACK"));
    return done;
  }

 private:
  struct Close {
    void operator()(sqlite3* connection) const { sqlite3_close(connection); }
  };
  std::unique_ptr<sqlite3, Close> connection_;
};

Error database_error(sqlite3* connection);

}  // namespace realm::tenants
