// The bulk path into PostgreSQL: INSERT ... SELECT from arrays, one a column, in PostgreSQL's binary format:
//
//   array   = dimensions(4) = 1, has_null(4), type of the elements(4), length(4), first index(4) = 1, element*
//   element = bytes(4), value | -1(4) for NULL                                            all numbers big-endian
//
// (array_send, int8send, timestamptz_send and so on in PostgreSQL's sources.) Text arrays that the statement casts are
// cheaper for the server than arrays of json.
#pragma once

#include "storage/batch.hpp"
#include "storage/connection.hpp"
#include "storage/postgresql_handle.hpp"
#include "storage/postgresql_schema.hpp"

#include <optional>
#include <string>
#include <vector>

namespace penstock::storage::postgresql {

/// The binary format of a one-dimensional array. Reused from batch to batch.
class array {
public:
  explicit array(Oid element) : element_(element) { clear(); }

  void clear();
  void add_null();
  void add(std::int64_t value);
  void add(double value);
  void add(bool value);
  void add(std::string_view bytes);
  /// The parameter. Valid until the next call.
  parameter finished();
  /// The value, where all elements have the same. Valid as `finished` is.
  std::optional<parameter> only_value() const;

private:
  void add_length(std::size_t bytes);
  Oid element_;
  std::uint32_t length_ = 0;
  bool has_null_ = false;
  std::string bytes_;
};

/// Inserts ranges of a batch's rows into one table, inside the caller's transaction.
class row_inserter {
public:
  /// `columns`: what the database has; it fits `target`.
  row_inserter(handle& database, const table& target, const std::vector<column_facts>& columns);

  /// See connection::insert.
  attempt insert(const batch_view& batch, std::size_t first, std::size_t last);

private:
  std::optional<refusal> collect(std::size_t index, const batch_view& batch, std::size_t first, std::size_t last);

  handle& database_;
  const table target_;
  std::vector<column_facts> facts_; ///< of the target's columns
  std::vector<array> values_;
  std::uint32_t all_new_; ///< statements in turn whose rows were all new
};

/// See connection::keep_letters.
attempt keep_letters(handle& database, const std::string& pipeline, std::span<const kept_letter> letters);

} // namespace penstock::storage::postgresql
