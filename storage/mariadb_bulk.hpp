// The bulk path into MariaDB: one prepared INSERT that is executed with arrays of values, a column after the other. A
// server that knows no arrays gets the same rows as the text of one INSERT.
#pragma once

#include "storage/bisect.hpp"
#include "storage/mariadb_handle.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::storage::mariadb {

/// The values of one parameter, a row after the other. Strings are not copied.
class parameter {
public:
  enum class kind : std::uint8_t { integer, real, boolean, timestamp, text, bytes };

  explicit parameter(kind values) : kind_(values) {}

  void clear();
  void add_null();
  void add_integer(std::int64_t value); ///< integer
  void add_real(double value);          ///< finite
  void add_boolean(bool value);
  void add_timestamp(std::int64_t microseconds); ///< for which is_date() holds
  void add_string(std::string_view value);       ///< text, bytes

  /// The bytes that the value takes in a packet of arrays; `as_text`: at most, in the text of a statement.
  std::size_t packet_bytes(std::size_t row, bool as_text) const;
  void append_literal(MYSQL* handle, std::size_t row, std::string& sql) const;
  /// The values from `row` on, as libmariadb takes them.
  void bind(MYSQL_BIND& to, std::size_t row);

private:
  void add_value() { indicators_.push_back(STMT_INDICATOR_NONE); }

  kind kind_;
  std::vector<char> indicators_;
  std::vector<std::int64_t> integers_;
  std::vector<double> reals_;
  std::vector<std::int8_t> booleans_;
  std::vector<MYSQL_TIME> times_;
  std::vector<MYSQL_TIME*> time_addresses_;
  std::vector<const char*> strings_;
  std::vector<unsigned long> lengths_;
};

/// Whether a DATETIME holds the time: the years 1 to 9999.
bool is_date(std::int64_t microseconds);
/// Microseconds since 1970 of "YYYY-MM-DD hh:mm:ss[.ffffff]", and back.
std::int64_t microseconds_of(std::string_view text);
std::string date_text(std::int64_t microseconds);

/// "HEAD VALUES (VALUES) TAIL", with one ? in `values` for each parameter.
struct insert_sql {
  std::string table; ///< for messages
  std::string head;
  std::string values;
  std::string tail;
  std::vector<parameter::kind> parameters;
};

/// One INSERT. Not copied: the statement knows its parameters' addresses.
class bulk_insert {
public:
  /// Use make().
  bulk_insert(const server& on, insert_sql sql);
  bulk_insert(const bulk_insert&) = delete;
  bulk_insert& operator=(const bulk_insert&) = delete;

  /// `on` must outlive it.
  static result<std::unique_ptr<bulk_insert>> make(const server& on, insert_sql sql);

  void clear();
  parameter& at(std::size_t index) { return parameters_[index]; }

  /// Inserts the rows [0, rows) that the parameters have, inside the caller's transaction; in several packets where one
  /// does not take them. After a refusal the transaction is as before, and its `row` counts from 0.
  attempt run(std::size_t rows);

private:
  struct close_statement {
    void operator()(MYSQL_STMT* statement) const { mysql_stmt_close(statement); }
  };

  result<void> prepare();
  std::size_t row_bytes(std::size_t row) const;
  /// Where each packet ends; the row that fits none is refused.
  attempt cut(std::size_t rows, std::vector<std::size_t>& ends) const;
  attempt run_packet(std::size_t first, std::size_t last);
  attempt run_arrays(std::size_t first, std::size_t last);
  attempt run_text(std::size_t first, std::size_t last);
  attempt refused(const fault& fault, std::size_t first) const;

  const server& on_;
  insert_sql sql_;
  std::vector<parameter> parameters_;
  std::vector<MYSQL_BIND> binds_;
  std::unique_ptr<MYSQL_STMT, close_statement> statement_; ///< only where the server knows arrays
};

} // namespace penstock::storage::mariadb
