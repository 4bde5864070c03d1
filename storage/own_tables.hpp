// Penstock's own tables, the same in every database and reached through SOCI alone: dead letters, and what penstock
// keeps about itself. Only the writing of dead letters is the dialect's, for it belongs to the bulk path.
#pragma once

#include "storage/store.hpp"

#include <soci/soci.h>

#include <functional>
#include <string>

namespace penstock::storage {

/// What differs between the databases.
struct own_tables_dialect {
  std::string text_type; ///< holds any UTF-8
  std::string key_type;  ///< text that a key can be made of
  std::string bytes_type;
  std::string hex_function; ///< hex(bytes) -> text
  /// Turns what SOCI threw into an error.
  std::function<error(const std::exception& thrown, const std::string& what)> failure;
};

/// The version of the layout below, in penstock_meta under "schema_version".
inline constexpr int own_tables_version = 1;

/// Reads and writes on one session. Each call is one statement, except where it says so.
class own_tables {
public:
  own_tables(soci::session& session, own_tables_dialect dialect) : session_(session), dialect_(std::move(dialect)) {}

  /// Creates the tables where they are missing, inside the caller's transaction. `unsupported` where a newer penstock
  /// made them.
  result<void> create();

  /// Makes the id when there is none. Inside the caller's transaction.
  result<std::string> installation_id();
  /// Reads it; empty: none yet.
  result<std::string> meta(const std::string& key);

  result<std::vector<dead_letter>> dead_letters(const dead_letter_filter& filter);
  /// One attempt more, and what is wrong with it now where `why` is given.
  result<void> dead_letter_attempted(const std::string& pipeline, const std::string& id, const error* why);
  result<void> dead_letter_delete(const std::string& pipeline, const std::string& id);
  result<std::uint64_t> dead_letter_count(const std::string& pipeline);

private:
  template <class Run>
  auto guarded(const std::string& what, const Run& run) -> decltype(run());
  void set_meta_if_missing(const std::string& key, const std::string& value);

  soci::session& session_;
  own_tables_dialect dialect_;
};

/// Random (version 4).
std::string make_uuid();

} // namespace penstock::storage
